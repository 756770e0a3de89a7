"""Heads against torch's own forward pass, in the shapes and names that published weights have."""

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from filters.models.heads import HeadScorer, load_head
from filters.scorer import Batch
from filters.scorers.aesthetic import Aesthetic
from filters.scorers.nsfw import Nsfw
from filters.scorers.watermark import Watermark
from winnow.errors import UserError


def embeddings(width: int, n: int = 7) -> np.ndarray:
    x = np.random.default_rng(width).normal(size=(n, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)


def score(scorer: HeadScorer, x: np.ndarray) -> np.ndarray:
    scorer.setup()
    n = len(x)
    columns = scorer.score(Batch(["0" * 32] * n, [""] * n, [{}] * n, [], {"clip.image_embedding": x}))
    assert columns["score"].dtype == np.float32
    assert columns["score"].shape == (n,)
    return columns["score"]


def forward(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(nn.functional.normalize(torch.from_numpy(x).double()).float()).squeeze(1).numpy()


def chain(*sizes: int, between: type[nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), between()]
    return layers[:-1]


class Nested(nn.Module):
    """As LAION's V2 predictor is saved: layers.0.weight, layers.2.weight, ..., with dropout between."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*chain(768, 1024, 128, 64, 16, 8, 8, 8, 1, between=nn.Dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("model", [nn.Linear(768, 1), Nested()], ids=["v1", "v2"])
def test_aesthetic_is_a_chain_of_linear_layers(model: nn.Module, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"head{suffix}"
    save_file(model.state_dict(), path) if suffix == ".safetensors" else torch.save(model.state_dict(), path)
    x = embeddings(768)
    np.testing.assert_allclose(score(Aesthetic(weights=str(path)), x), forward(model, x), rtol=1e-4, atol=1e-5)


def test_nsfw_of_datacomp_starts_with_a_normalisation(tmp_path: Path) -> None:
    names = ["norm", "dense", "relu", "dense1", "relu1", "dense2", "relu2", "dense3", "sigmoid"]
    modules = [nn.BatchNorm1d(768, eps=0.0), *chain(768, 64, 512, 256, 1, between=nn.ReLU), nn.Sigmoid()]
    model = nn.Sequential(OrderedDict(zip(names, modules, strict=True)))
    rng = torch.Generator().manual_seed(0)
    for name, tensor in model.norm.state_dict().items():
        if name != "num_batches_tracked":
            tensor.copy_(torch.rand(768, generator=rng) + 0.01)
    torch.save(model.state_dict(), tmp_path / "nsfw.pt")
    x = embeddings(768)
    np.testing.assert_allclose(score(Nsfw(weights=str(tmp_path / "nsfw.pt")), x), forward(model, x), atol=1e-5)


def test_nsfw_of_laion_keeps_mean_and_variance(tmp_path: Path) -> None:
    mean, variance = torch.linspace(-0.02, 0.02, 512), torch.linspace(1e-4, 3e-3, 512)
    layers = nn.Sequential(*chain(512, 32, 32, 1, between=nn.ReLU), nn.Sigmoid())
    names = ["linear_1", "linear_2", "linear_3"]
    state = {"norm.mean": mean, "norm.variance": variance}
    for name, layer in zip(names, layers[:5:2], strict=True):
        state |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    torch.save(state, tmp_path / "nsfw.pth")
    x = embeddings(512)
    with torch.no_grad():
        unit = nn.functional.normalize(torch.from_numpy(x).float())
        expected = layers((unit - mean) / variance.sqrt()).squeeze(1).numpy()
    np.testing.assert_allclose(score(Nsfw(weights=str(tmp_path / "nsfw.pth")), x), expected, atol=1e-5)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("sizes", [(16, 1), (16, 5, 1), (16, 30, 7, 1)])
def test_watermark_takes_any_sizes_and_far_logits(sizes: tuple[int, ...], tmp_path: Path) -> None:
    model = nn.Sequential(*chain(*sizes, between=nn.ReLU))
    with torch.no_grad():
        model[-1].weight.mul_(1e4)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    x = embeddings(16, 50)
    with np.errstate(over="raise"):
        found = score(Watermark(weights=str(tmp_path / "w.pt")), x)
    logits = torch.from_numpy(forward(model, x))
    clear = (logits.abs() > 1).numpy()  # near 0 the float16 rounding is magnified
    np.testing.assert_allclose(found[clear], torch.sigmoid(logits).numpy()[clear], atol=1e-3)


def test_identity_is_the_files_hash(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(seed)
        torch.save(nn.Linear(8, 1).state_dict(), tmp_path / f"{name}.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    a, b, c = (dict(Aesthetic(weights=str(tmp_path / f"{name}.pt")).identity()) for name in "abc")
    assert a == b != c


def test_missing_and_misfitting_weights_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sac\+logos\+ava1-l14-linearMSE"):
        Aesthetic(weights=str(tmp_path / "none.pth")).identity()
    torch.save(nn.Linear(768, 1).state_dict(), tmp_path / "head.pth")
    with pytest.raises(UserError, match="768 numbers, but the scorer 'clip' makes 512"):
        score(Aesthetic(weights=str(tmp_path / "head.pth")), embeddings(512))


class Harmful:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


BAD = {
    "two outputs": nn.Linear(8, 2).state_dict(),
    "layers that do not fit": nn.Sequential(nn.Linear(8, 4), nn.Linear(5, 1)).state_dict(),
    "two normalisations": nn.Sequential(nn.BatchNorm1d(8), nn.BatchNorm1d(8), nn.Linear(8, 1)).state_dict(),
    "a normalisation of another width": nn.Sequential(nn.BatchNorm1d(4), nn.Linear(8, 1)).state_dict(),
    "a layer norm": nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 1)).state_dict(),
    "an unknown tensor": {"x.gamma": torch.zeros(1)},
    "no layer": {},
    "no state dict": [1, 2],
    "code": {"a": Harmful()},
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_heads_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(BAD[name], tmp_path / "head.pt")
    with pytest.raises(UserError, match=r"head\.pt"):
        load_head(tmp_path / "head.pt")
    assert "executed" not in capsys.readouterr().out


def test_a_file_of_anything_else_is_refused(tmp_path: Path) -> None:
    for name in ("head.pt", "head.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(UserError, match="cannot read weights"):
            load_head(tmp_path / name)
