import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from training.data import Pairs
from training.distributed import average_gradients, process_group, rank
from training.main import load_system, train
from training.networks.text_cut import encode_text
from training.order import Order
from training.recipe import Recipe
from training.stream import batches
from training.system import Batch, build_system
from training.systems.clip import Clip, info_nce
from winnow.openclip import create_clip

ROOT = Path(__file__).parents[3]


def loss(images: Tensor, texts: Tensor, scale: float) -> Tensor:
    return info_nce(images, texts, images, texts, torch.tensor(scale))


@pytest.mark.parametrize("n", [2, 7, 32])
def test_all_orthogonal_is_ln_n(n: int) -> None:
    basis = torch.eye(2 * n)
    assert loss(basis[:n], basis[n:], 10.0).item() == pytest.approx(math.log(n), rel=1e-6)


@pytest.mark.parametrize("scale", [1.0, 5.0, 14.3])
def test_identical_pairs_otherwise_orthonormal(scale: float) -> None:
    n, basis = 8, torch.eye(8)
    assert loss(basis, basis, scale).item() == pytest.approx(
        math.log(1 + (n - 1) * math.exp(-scale)), rel=1e-4, abs=1e-6
    )


def random_pairs(n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(n, 16, generator=generator), dim=-1) for _ in range(2))
    return images, texts


def test_equals_open_clip() -> None:
    images, texts = random_pairs()
    expected = open_clip.ClipLoss()(images, texts, torch.tensor(12.0))
    assert torch.allclose(loss(images, texts, 12.0), expected, rtol=1e-6)


def test_symmetric_and_invariant_under_joint_permutation() -> None:
    images, texts = random_pairs()
    turned = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(loss(images, texts, 9.0), loss(texts, images, 9.0))
    assert torch.allclose(loss(images, texts, 9.0), loss(images[turned], texts[turned], 9.0))
    assert not torch.allclose(loss(images, texts, 9.0), loss(images, texts[turned], 9.0))


CAPTIONS = ["a", "a red square on a white ground", "", "two words"]


@pytest.mark.parametrize("tower", ["built in", "custom"])
def test_cut_text_equals_open_clip(clip_json: str, tmp_path: Path, tower: str) -> None:
    config = json.loads(Path(clip_json).read_text())
    path = tmp_path / f"cut-{tower.replace(' ', '-')}.json"
    path.write_text(json.dumps(config | ({"custom_text": True} if tower == "custom" else {})))
    model = create_clip(str(path))
    tokens = open_clip.get_tokenizer(path.stem)(CAPTIONS)
    lengths: list[int] = []
    text = getattr(model, "text", model)
    hook = text.transformer.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    assert torch.allclose(encode_text(model, tokens), model.encode_text(tokens), atol=1e-6)
    hook.remove()
    assert lengths == [9, 16]  # start, seven words, end: nothing beyond is computed


def test_towers_that_cannot_be_cut_are_not(clip_json: str, tmp_path: Path) -> None:
    config = json.loads(Path(clip_json).read_text())
    config["text_cfg"] |= {"no_causal_mask": True, "pool_type": "last"}
    path = tmp_path / "bidirectional-test.json"
    path.write_text(json.dumps(config | {"custom_text": True}))
    model = create_clip(str(path))
    tokens = open_clip.get_tokenizer(path.stem)(CAPTIONS)
    assert torch.equal(encode_text(model, tokens), model.encode_text(tokens))


def test_logit_scale_is_clamped(clip_json: str) -> None:
    system = Clip(Clip.Config(model=clip_json))
    for value, expected in ((10.0, math.log(100)), (-3.0, 0.0), (1.0, 1.0)):
        system.model.logit_scale.data.fill_(value)
        system.after_step("contrastive", 0.0)
        assert system.model.logit_scale.item() == pytest.approx(expected)


def test_clamp_holds_after_every_step(clip_recipe: Callable[..., Recipe]) -> None:
    out = train(clip_recipe(lr=5.0, samples_seen=40, log_every=8))
    scales = [json.loads(line)["contrastive/logit_scale"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert max(scales) <= 100.001
    assert min(scales) >= 0.999


def test_normalises_as_open_clip(clip_json: str) -> None:
    from PIL import Image

    system = Clip(Clip.Config(model=clip_json)).eval()
    _, _, preprocess = open_clip.create_model_and_transforms(system.name)
    pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = system.model.encode_image(preprocess(Image.fromarray(pixels.numpy()))[None], normalize=True)
    assert torch.allclose(system.embed_images(pixels.permute(2, 0, 1)[None]), expected, atol=1e-5)


def test_weights_load_in_open_clip(clip_recipe: Callable[..., Recipe]) -> None:
    out = train(clip_recipe())
    assert {path.name for path in out.iterdir()} >= {"model.pt", "clip-test.json", "config.yaml", "metrics.jsonl"}
    open_clip.add_model_config(out / "clip-test.json")
    model, _, _ = open_clip.create_model_and_transforms("clip-test", pretrained=str(out / "model.pt"))
    system = load_system(out)
    tokens = torch.stack([system.tokenize("a red square")])
    assert torch.equal(model.eval().encode_text(tokens), system.model.encode_text(tokens))
    initial = build_system({"use": "clip", "model": str(out / "clip-test.json")})
    assert not torch.equal(model.encode_text(tokens), initial.model.encode_text(tokens))


def gradients(shards: list[str], clip_json: str) -> dict[str, Tensor]:
    """Return loss and averaged gradients of the first global batch, on this rank's share of it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    system, pairs = build_system({"use": "clip", "model": clip_json}), Pairs(shards)
    size = dist.get_world_size() if dist.is_initialized() else 1
    order = Order(pairs.identities(), 0)
    with batches(pairs, order, system, start=0, stop=12, batch_size=12, rank=rank(), world_size=size) as stream:
        batch: Batch = next(stream)
    value = next(iter(system.phases(batch, 0.0))).terms()["loss"]
    value.backward()
    average_gradients(system.parameters())
    total = value.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(total)
    found = {name: parameter.grad for name, parameter in system.named_parameters() if parameter.grad is not None}
    return found | {"loss": total / size}


def test_two_processes_equal_one(shards: list[str], clip_json: str, tmp_path: Path) -> None:
    """Loss and every gradient of two gloo workers equal those of one process with the whole batch."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import importlib.util, sys, torch\n"
        f"spec = importlib.util.spec_from_file_location('helper', {__file__!r})\n"
        "helper = importlib.util.module_from_spec(spec); spec.loader.exec_module(helper)\n"
        "with helper.process_group(torch.device('cpu')):\n"
        f"    found = helper.gradients({shards!r}, {clip_json!r})\n"
        f"    torch.save(found, {str(tmp_path)!r} + f'/{{helper.rank()}}.pt')\n"
    )
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)],
        check=True, cwd=ROOT, env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    expected = gradients(shards, clip_json)
    for number in range(2):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-6), name
    assert expected["model.logit_scale"].abs() > 1e-4  # the comparison above was not of zeros


def test_micro_batches_are_refused(clip_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(ValueError, match="compares the samples of a batch"):
        train(clip_recipe(accumulate=2))


__all__ = ["gradients", "process_group", "rank"]
