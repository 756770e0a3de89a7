"""A cascade: what a gate lets pass has the very values it would have without the gate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters.gate import Gate
from filters.scorer import Batch
from filters.scorers.clip import Clip
from filters.scorers.masked_clip import MaskedClip
from filters.scorers.ocr import Ocr
from filters.scorers.text_boxes import TextBoxes

TINY = "configs/models/winnow-tiny.json"
DETECTOR = {"use": "ppocr", "threads": 2}


@pytest.fixture(scope="module")
def batch(checkpoint: Path, pictures: list, text_picture: np.ndarray) -> Batch:
    images = [text_picture, *pictures, text_picture[:, 20:], text_picture[20:], text_picture[:100]]
    captions = [f"summer sale number {i}" for i in range(len(images))]
    batch = Batch([f"{i:032x}" for i in range(len(images))], captions, [{}] * len(images), images)
    batch.columns = {f"clip.{name}": values for name, values in clip(checkpoint).score(batch).items()}
    return batch


def clip(checkpoint: Path) -> Clip:
    return Clip(model=TINY, pretrained=str(checkpoint), precision="fp32", threads=2)


def score(batch: Batch, checkpoint: Path, boxes: dict[str, Any], masked: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of detection, masking and reading under two gates."""
    columns = dict(batch.columns)
    for key, scorer in {
        "text_boxes": TextBoxes(detector=DETECTOR, **boxes),
        "masked_clip": MaskedClip(**masked),
        "ocr": Ocr(recogniser=DETECTOR),
    }.items():
        scorer.bind({"clip": clip(checkpoint)})
        scorer.setup()
        here = Batch(batch.uids, batch.captions, batch.meta, batch.images, columns)
        columns |= {f"{key}.{name}": values for name, values in scorer.score(here).items()}
    return columns


@pytest.mark.parametrize("gated", ["text_boxes", "masked_clip"])
def test_rows_above_the_gate_are_untouched_and_the_others_unknown(batch: Batch, checkpoint: Path, gated: str) -> None:
    similarity = batch.columns["clip.similarity"]
    gate = {"only_if": Gate(min_similarity=float(np.sort(similarity)[4]))}
    without = score(batch, checkpoint, {}, {})
    within = score(batch, checkpoint, gate if gated == "text_boxes" else {}, gate if gated == "masked_clip" else {})
    passes = similarity >= gate["only_if"].min_similarity
    assert passes.sum() == len(batch) - 4
    assert (without["masked_clip.masked"] & passes).any()
    assert (without["masked_clip.masked"] & ~passes).any()
    for name, values in without.items():
        got, expected = (np.asarray(v, dtype=object if isinstance(v, list) else None) for v in (within[name], values))
        rounding = np.issubdtype(expected.dtype, np.floating)  # other pictures share the forward pass
        if rounding:
            np.testing.assert_allclose(got[passes], expected[passes], atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(got[passes], expected[passes], err_msg=name)
    assert (within["masked_clip.skipped"] == ~passes).all()
    assert np.isnan(within["masked_clip.similarity"][~passes]).all()
    assert not within["masked_clip.masked"][~passes].any()
    if gated == "text_boxes":
        assert [within["text_boxes.boxes"][row] for row in np.flatnonzero(~passes)] == [None] * 4
        assert (within["text_boxes.num_boxes"][~passes] == -1).all()
        assert [within["ocr.text"][row] for row in np.flatnonzero(~passes)] == [None] * 4


def test_a_gated_row_is_not_looked_at(batch: Batch, checkpoint: Path) -> None:
    images = [np.zeros((0, 0, 3), np.uint8)] * len(batch)  # any look at one of them is an error
    blind = Batch(batch.uids, batch.captions, batch.meta, images, batch.columns)
    columns = score(blind, checkpoint, {"only_if": Gate(min_similarity=2.0)}, {})
    assert columns["text_boxes.boxes"] == [None] * len(batch)
    assert columns["masked_clip.skipped"].all()


def test_needs_name_the_gates_scorer() -> None:
    gate = Gate(clip="small", min_similarity=0.2)
    assert TextBoxes(only_if=gate).needs() == ("small",)
    assert MaskedClip(only_if=gate).needs() == ("clip", "text_boxes", "small")
    assert TextBoxes().needs() == ()
