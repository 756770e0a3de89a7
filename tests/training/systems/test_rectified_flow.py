import pytest
import torch
from torch import Tensor, nn

from training.networks.caption_encoder import CaptionEncoder
from training.system import Batch
from training.systems.rectified_flow import RectifiedFlow, flow_loss


def system(**fields: object) -> RectifiedFlow:
    torch.manual_seed(0)
    built = RectifiedFlow(RectifiedFlow.Config(**RectifiedFlow.Config.tiny().model_dump() | fields))
    for layer in built.modules():  # leave the zero initialisation, so that outputs depend on inputs
        if isinstance(layer, nn.Conv2d | nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.1)
    return built.eval()


CAPTIONS = ["a red square", "two blue circles on white", "rain"]


def tokens(model: RectifiedFlow, captions: list[str] = CAPTIONS) -> Tensor:
    return torch.stack([model.tokenize(caption) for caption in captions])


def field(model: RectifiedFlow, captions: list[str], drop: bool = False) -> Tensor:
    x = torch.randn(len(captions), 3, 16, 16, generator=torch.Generator().manual_seed(1))
    flags = torch.full((len(captions),), drop)
    with torch.no_grad():
        return model.velocity(tokens(model, captions), flags)(x, torch.full((len(captions),), 0.4))


def test_initial_output_is_the_best_linear_estimate() -> None:
    """For x ~ N(0, 0.25) and z ~ N(0, 1): E[z - x | x_t] = x_t (t - 0.25 (1 - t)) / (t^2 + 0.25 (1 - t)^2)."""
    model = RectifiedFlow.tiny()
    x_t = torch.randn(len(CAPTIONS), 3, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = x_t * (0.4 - 0.25 * 0.6) / (0.4**2 + 0.25 * 0.6**2)
    torch.testing.assert_close(field(model, CAPTIONS), expected)


def test_initial_loss_is_what_no_linear_estimate_explains() -> None:
    """For pixels of standard deviation sigma it is the mean over t of sigma^2 / (t^2 + (1 - t)^2 sigma^2)."""
    model = RectifiedFlow.tiny()
    sign = torch.randint(0, 2, (256, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = (127.5 + sign * 63.75).round().to(torch.uint8)  # x = +-0.5
    torch.manual_seed(0)
    terms = next(model.phases(Batch(images, tokens(model, ["a"] * 256)), 0.0)).terms()
    t = torch.linspace(0, 1, 10001)
    assert terms["loss"].item() == pytest.approx((0.25 / (t**2 + 0.25 * (1 - t) ** 2)).mean().item(), rel=0.05)


def test_captions_act_and_permute() -> None:
    model = system()
    x = torch.randn(1, 3, 16, 16).expand(3, -1, -1, -1)
    keep, t = torch.zeros(3, dtype=torch.bool), torch.full((3,), 0.5)
    with torch.no_grad():
        straight = model.velocity(tokens(model), keep)(x, t)
        turned = model.velocity(tokens(model, CAPTIONS[::-1]), keep)(x, t)
    assert (straight[0] - straight[1]).abs().max() > 1e-3
    assert torch.allclose(straight.flip(0), turned, atol=1e-5)


def test_padding_does_not_matter() -> None:
    """What stands beyond the end of text changes nothing."""
    model = system()
    clean = tokens(model)
    noisy = clean.clone()
    beyond = torch.arange(clean.shape[1]) > clean.argmax(1, keepdim=True)
    noisy[beyond] = 1234
    keep, x, t = torch.zeros(3, dtype=torch.bool), torch.randn(3, 3, 16, 16), torch.full((3,), 0.5)
    with torch.no_grad():
        assert torch.allclose(model.velocity(clean, keep)(x, t), model.velocity(noisy, keep)(x, t), atol=1e-6)


def test_empty_caption_is_the_null_branch() -> None:
    model = system()
    assert torch.allclose(field(model, ["", "", ""]), field(model, ["", "", ""], drop=True))
    assert not torch.allclose(field(model, CAPTIONS), field(model, CAPTIONS, drop=True), atol=1e-4)


def test_null_caption_is_no_word() -> None:
    """The null embedding is a parameter of its own, none of the vocabulary's."""
    encoder = CaptionEncoder(16, 1, 8)
    with torch.no_grad():
        encoder.embedding.weight.zero_()
        before = encoder(torch.tensor([[49406, 49407, 0, 0, 0, 0, 0, 0]]), torch.tensor([True])).pooled
        encoder.null += 1
        after = encoder(torch.tensor([[49406, 49407, 0, 0, 0, 0, 0, 0]]), torch.tensor([True])).pooled
    assert torch.allclose(after, before + 1)


def test_drop_rate_is_binomial(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RectifiedFlow(RectifiedFlow.Config(**RectifiedFlow.Config.tiny().model_dump() | {"caption_dropout": 0.2}))
    drops: list[Tensor] = []
    monkeypatch.setattr(model, "velocity", lambda words, drop: drops.append(drop) or (lambda x, t: x))
    torch.manual_seed(0)
    batch = Batch(torch.zeros(50, 3, 16, 16, dtype=torch.uint8), tokens(model, ["a"] * 50))
    for _ in range(40):
        next(model.phases(batch, 0.0)).terms()
    counts = torch.stack(drops).float().sum(1)  # 40 draws of binomial(50, 0.2): mean 10, variance 8
    assert counts.mean().item() == pytest.approx(10, abs=3 * (8 / 40) ** 0.5)
    assert 4 < counts.var().item() < 14


def test_guidance_ends() -> None:
    """Weight 0 draws what conditional sampling draws, -1 what empty captions draw, bit for bit."""
    model = system(sampler="euler")

    def draw(captions: list[str], guidance: float) -> Tensor:
        return model.sample(captions, torch.Generator().manual_seed(3), num_steps=3, guidance=guidance)

    assert torch.equal(draw(CAPTIONS, -1), draw([""] * 3, 0))
    assert torch.equal(draw(CAPTIONS, 0), draw(CAPTIONS, 0))
    assert not torch.equal(draw(CAPTIONS, 0), draw(CAPTIONS, 2))
    drawn = draw(CAPTIONS, 2)
    assert drawn.shape == (3, 3, 16, 16)
    assert drawn.dtype == torch.float32
    assert drawn.abs().max() <= 1


def test_loss_is_least_at_the_analytic_velocity() -> None:
    """For x ~ N(m, s^2) independent of z the exact velocity E[z - x | x_t] beats every disturbed one."""
    generator = torch.Generator().manual_seed(0)
    mean, std = 0.5, 0.3
    x, z = mean + std * torch.randn(40_000, 1, generator=generator), torch.randn(40_000, 1, generator=generator)
    t = torch.rand(40_000, generator=generator)

    def exact(x_t: Tensor, t: Tensor) -> Tensor:
        t = t.view(-1, 1)
        return -mean + (t - (1 - t) * std**2) / (((1 - t) * std) ** 2 + t**2) * (x_t - (1 - t) * mean)

    best = flow_loss(exact, x, z, t)
    for shift, factor in ((0.1, 1.0), (-0.1, 1.0), (0.0, 1.1), (0.0, 0.9)):
        assert flow_loss(lambda x_t, t, s=shift, f=factor: f * exact(x_t, t) + s, x, z, t) > best
    ends = torch.tensor([[1.3], [-0.2]])
    assert torch.allclose(exact(ends, torch.ones(2)), ends - mean)  # t = 1: z - E[x]
    assert torch.allclose(exact(ends, torch.zeros(2)), 0 - ends)  # t = 0: E[z] - x


def test_loss_by_hand() -> None:
    x, z = torch.tensor([[2.0], [0.0]]), torch.tensor([[4.0], [1.0]])
    seen: list[Tensor] = []

    def zero(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append(x_t)
        return torch.zeros_like(x_t)

    value = flow_loss(zero, x, z, torch.tensor([0.25, 1.0]))
    assert torch.allclose(seen[0], torch.tensor([[2.5], [1.0]]))
    assert value.item() == pytest.approx((2**2 + 1**2) / 2)
