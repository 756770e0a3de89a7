"""A network's preprocessing goes where its weights go, and open_clip reads it there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import yaml
from PIL import Image

from eval.features import load_embedder
from training.main import load_system, train
from training.recipe import Recipe
from training.system import build_system
from training.systems.clip import Clip
from winnow.errors import UserError
from winnow.openclip import create_clip, preprocessing

PREPROCESS = {
    "mode": "RGB", "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.3, 0.2], "interpolation": "bilinear",
    "resize_mode": "squash", "fill_color": 0,
}  # fmt: skip
SIZES = {"square": 16, "wide": [16, 32], "high": [32, 16]}


def architecture(size: Any) -> dict[str, Any]:
    vision = {"image_size": size, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    return {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}


def pictures() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 30), (16, 16), (20, 64), (7, 90))]


@pytest.fixture(params=[(size, own) for size in SIZES for own in (False, True)], ids=lambda p: f"{p[0]}-{p[1]}")
def model(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a JSON file: an architecture alone, or one with a preprocessing of its own as the hub has them."""
    size, own = request.param
    path = tmp_path / "hub" / ("open_clip_config.json" if own else "winnow-test-shape.json")
    path.parent.mkdir()
    content = architecture(SIZES[size])
    path.write_text(json.dumps({"model_cfg": content, "preprocess_cfg": PREPROCESS} if own else content))
    return str(path)


def test_open_clip_loads_the_folder_of_a_run(model: str, clip_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Same pixels, same embeddings: theirs by folder, ours by folder, and the system that was trained."""
    out = train(clip_recipe(system={"use": "clip", "model": model}, samples_seen=16))
    out = Path(shutil.move(out, tmp_path / "moved"))
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{out}")
    tokens = open_clip.get_tokenizer(f"local-dir:{out}")(["a red square", "rain"])
    ours = load_embedder(out)
    assert ours is not None
    pixels = torch.stack([transform(Image.fromarray(picture)) for picture in pictures()])
    assert torch.equal(pixels, torch.stack([ours.preprocess(Image.fromarray(picture)) for picture in pictures()]))
    with torch.no_grad():
        theirs.eval()
        images = theirs.encode_image(pixels, normalize=True).numpy()
        texts = theirs.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_array_equal(ours.encode_images(pictures()), images)
    np.testing.assert_array_equal(ours.encode_texts(["a red square", "rain"]), texts)
    if Path(model).name == "open_clip_config.json":
        assert transform.transforms[-1].mean == PREPROCESS["mean"]
        assert transform.transforms[-1].std == PREPROCESS["std"]

    system = load_system(out)
    assert isinstance(system, Clip)
    height, width = system.size
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with torch.no_grad():  # no resize for a picture of the network's size: what training fed and what evaluation feeds
        fed = system.embed_images(torch.from_numpy(picture).permute(2, 0, 1)[None]).numpy()
    np.testing.assert_allclose(ours.encode_images([picture]), fed, atol=1e-6)


def test_whatever_starts_from_the_weights_inherits_it(clip_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Weights, snapshots and checkpoints, where they lie and copied elsewhere; another network starts from each."""
    hub = tmp_path / "hub" / "open_clip_config.json"
    hub.parent.mkdir()
    hub.write_text(json.dumps({"model_cfg": architecture(16), "preprocess_cfg": PREPROCESS}))
    plain = tmp_path / "winnow-test-plain.json"
    plain.write_text(json.dumps(architecture(16)))
    out = train(clip_recipe(system={"use": "clip", "model": str(hub)}, samples_seen=16, snapshots=1))
    checkpoint = out / "checkpoints" / "000000000000016.pt"
    alone = Path(shutil.copy(checkpoint, tmp_path / "alone.pt"))
    for path in (out / "model.pt", out / "snapshots" / "00001.pt", checkpoint, alone):
        system = build_system({"use": "clip", "model": str(plain), "pretrained": str(path)})
        assert isinstance(system, Clip)
        found = system.model.visual.preprocess_cfg
        assert {key: found[key] for key in PREPROCESS} == PREPROCESS, path
        assert torch.allclose(system.mean.flatten(), torch.tensor([127.5, 102.0, 76.5]))


def test_a_folder_older_than_the_file_is_told_by_its_tag(tmp_path: Path) -> None:
    """No weights are read: what the tag says is in open_clip itself."""
    for name, start in (("first", "webli"), ("second", str(tmp_path / "first" / "model.pt"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.pt").write_bytes(b"")
        system = {"use": "clip", "model": "ViT-B-16-SigLIP", "pretrained": start}
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump({"system": system}))
        found = preprocessing(tmp_path / name / "model.pt", None)
        assert found["mean"] == found["std"] == (0.5, 0.5, 0.5)
        assert found["resize_mode"] == "squash"
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "model.pt").write_bytes(b"")
    assert preprocessing(tmp_path / "none" / "model.pt", None) == {}


def test_a_file_named_like_a_built_in_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.json"
    path.write_text(json.dumps(architecture(16)))
    with pytest.raises(UserError, match=r"own ViT-B-32, but is another architecture.*my-ViT-B-32\.json"):
        create_clip(str(path))
    assert open_clip.get_model_config("ViT-B-32")["vision_cfg"]["image_size"] == 224


def test_a_copy_of_a_built_in_model_is_that_model(tmp_path: Path) -> None:
    """Runs keep one beside their weights."""
    name = "RN50"
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(open_clip.get_model_config(name), indent=2))
    from winnow.openclip import model_name

    assert model_name(str(path)) == name
