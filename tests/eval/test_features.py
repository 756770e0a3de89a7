import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from eval.features import OpenClipEmbedder, as_embedder, load_embedder
from winnow.errors import UserError

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    (folder / "winnow-test-features.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(0)
    torch.save(open_clip.CLIP(**CONFIG).state_dict(), folder / "model.pt")
    return folder


def pictures(count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 32 + 4 * i, 3), dtype=np.uint8) for i in range(count)]


def test_loads_a_run_folder_and_normalises(run_folder: Path) -> None:
    embedder = load_embedder(run_folder)
    assert embedder is not None
    images, texts = embedder.encode_images(pictures(3)), embedder.encode_texts(["a cat", "a dog"])
    assert images.shape == (3, 16)
    assert images.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, rtol=1e-5)
    expected = torch.load(run_folder / "model.pt")["visual.proj"]
    assert torch.equal(embedder.model.visual.proj.detach(), expected)


def test_features_do_not_depend_on_the_batch(run_folder: Path) -> None:
    model = load_embedder(run_folder).model  # type: ignore[union-attr]
    whole = OpenClipEmbedder(model).encode_images(pictures(5))
    pairs = OpenClipEmbedder(model, batch_size=2).encode_images(pictures(5))
    np.testing.assert_allclose(whole, pairs, atol=1e-5)


def test_a_folder_of_another_system_is_none(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    assert load_embedder(tmp_path) is None


def test_what_embeds_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="recipes"):
        as_embedder(object())
