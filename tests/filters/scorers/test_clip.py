from pathlib import Path

import numpy as np
import pytest

from filters.scorer import Batch
from filters.scorers.clip import Clip
from winnow.component import digest, validate
from winnow.errors import UserError

TINY = "configs/models/winnow-tiny.json"


def test_similarity_is_the_product_of_the_embeddings(checkpoint: Path, pictures: list) -> None:
    scorer = Clip(model=TINY, pretrained=str(checkpoint), precision="fp32", threads=2)
    scorer.setup()
    captions = [f"picture {i}" for i in range(len(pictures))]
    columns = scorer.score(Batch(["0" * 32] * len(pictures), captions, [{}] * len(pictures), pictures))
    assert columns["similarity"].dtype == np.float32
    assert columns["image_embedding"].dtype == columns["text_embedding"].dtype == np.float16
    images, texts = (columns[f"{side}_embedding"].astype(np.float64) for side in ("image", "text"))
    np.testing.assert_allclose(columns["similarity"], (images * texts).sum(axis=1), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-3)


def test_identity_follows_the_weights_and_the_precision(checkpoint: Path, tmp_path: Path) -> None:
    copy, other = tmp_path / "copy.pt", tmp_path / "other.pt"
    copy.write_bytes(checkpoint.read_bytes())
    other.write_bytes(checkpoint.read_bytes() + b"\0")
    identity = {p: dict(Clip(model=TINY, pretrained=str(p)).identity()) for p in (checkpoint, copy, other)}
    assert identity[checkpoint] == identity[copy] != identity[other]
    low = Clip(model=TINY, pretrained=str(checkpoint), precision="bf16").identity()
    high = Clip(model=TINY, pretrained=str(checkpoint), precision="fp32").identity()
    assert low != high
    assert Clip(model="ViT-B-32-quickgelu", pretrained="openai").identity()["weights"] == "ViT-B-32-quickgelu@openai"


def test_settings_of_speed_do_not_enter_the_key(checkpoint: Path) -> None:
    slow = Clip(model=TINY, pretrained=str(checkpoint), batch_size=1, threads=1, device="cpu")
    assert digest(slow) == digest(Clip(model=TINY, pretrained=str(checkpoint)))


def test_a_missing_checkpoint_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="winnow filternet"):
        Clip(model=TINY, pretrained=str(tmp_path / "model.pt")).identity()


def test_unknown_and_mismatched_weights_are_errors() -> None:
    with pytest.raises(UserError, match="neither a file nor one of"):
        Clip(model="ViT-B-32", pretrained="no_such_tag").identity()
    with pytest.raises(UserError, match="'ViT-B-32-quickgelu'"):  # open_clip would only warn
        Clip(model="ViT-B-32", pretrained="openai").identity()
    with pytest.raises(UserError, match=r"clip\.pretrained"):
        validate(Clip, {"pretrained": None}, "clip")
