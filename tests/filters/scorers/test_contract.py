"""What every scorer must keep to, the ones added later included."""

import json
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from filters.scorer import Batch, Scorer
from winnow.component import build
from winnow.errors import UserError
from winnow.registry import names

TINY = "configs/models/winnow-tiny.json"
CAPTIONS = ["a red bird", "", "ein Hund im Garten\nam Abend", "SALE 50%", "une maison bleue", "x"]
HEADS = ("aesthetic", "nsfw", "watermark")
MODELS = (
    "clip",
    "clip_flipped",
    "masked_clip",
    "ocr",
    "text_boxes",
    *HEADS,
    "caption_similarity",
    "clip_along",
    "open_nsfw",
)
"""Scorers whose values may differ in the last bits between batches."""


@pytest.fixture(params=names("filters.scorers"))
def key(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scorer(key: str, checkpoint: Path) -> Scorer:
    """The scorer, ready; those that need weights get random or packaged ones."""
    try:
        return make(key, checkpoint)
    except UserError as error:
        pytest.skip(f"{key} cannot run here: {error}")


def make(key: str, checkpoint: Path) -> Scorer:
    model = {"model": TINY, "precision": "fp32", "threads": 2}
    fields: dict[str, dict[str, object]] = {
        "caption_similarity": {"captions": {"field": "generated"}},
        "clip_along": model | {"checkpoints": [str(checkpoint)] * 2},
        **{head: {"weights": head_weights(checkpoint.parent)} for head in HEADS},
        "clip": model | {"pretrained": str(checkpoint)},
        "text_boxes": {"detector": {"use": "ppocr", "threads": 2}},
    }
    scorer: Scorer = build("filters.scorers", fields.get(key, {}), key)
    peers = {need: make(need, checkpoint) for need in scorer.needs()}
    scorer = pickle.loads(pickle.dumps(scorer))  # as it travels to a worker
    scorer.bind(peers)
    scorer.setup()
    return scorer


def head_weights(folder: Path) -> str:
    import torch

    path = folder / "head.pt"
    if not path.exists():
        torch.save(
            torch.nn.Sequential(torch.nn.Linear(128, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).state_dict(), path
        )
    return str(path)


@pytest.fixture
def batch(pictures: list, text_picture: np.ndarray, scorer: Scorer, checkpoint: Path) -> Batch:
    images = [*pictures[:4], text_picture, pictures[4]]
    meta = [{"original_width": 300, "original_height": 200, "generated": ["a bird", "a sale"]}] * len(images)
    full = Batch([f"{i:032x}" for i in range(6)], CAPTIONS, meta, images)
    for need in scorer.needs():
        for name, values in make(need, checkpoint).score(full).items():
            full.columns[f"{need}.{name}"] = values
    full.images = images if scorer.wants_images else []
    return full


def part(batch: Batch, start: int, stop: int) -> Batch:
    rows = slice(start, stop)
    columns = {name: values[rows] for name, values in batch.columns.items()}
    return Batch(batch.uids[rows], batch.captions[rows], batch.meta[rows], batch.images[rows], columns)


def test_every_column_has_the_length_of_its_batch(scorer: Scorer, batch: Batch) -> None:
    for size in (len(batch), 1, 0):
        columns = scorer.score(part(batch, 0, size))
        assert columns
        for name, values in columns.items():
            assert len(values) == size, name
            assert isinstance(values, np.ndarray) or all(isinstance(v, str) for v in values), name


def test_values_do_not_depend_on_the_batch(key: str, scorer: Scorer, batch: Batch) -> None:
    whole = scorer.score(batch)
    for split in ((0, 1, 6), (0, 2, 4, 6), (0, 5, 6)):
        parts = [scorer.score(part(batch, *bounds)) for bounds in pairwise(split)]
        for name, values in whole.items():
            joined = [value for piece in parts for value in piece[name]]
            if key in MODELS and isinstance(values, np.ndarray) and values.dtype.kind == "f":
                np.testing.assert_allclose(np.array(joined, np.float64), values.astype(np.float64), atol=1e-3)
            else:
                np.testing.assert_array_equal(joined, values)


def test_identity_is_text_and_survives_json(scorer: Scorer) -> None:
    identity = dict(scorer.identity())
    assert json.loads(json.dumps(identity)) == identity
    assert all(isinstance(value, str) for value in identity.values())


def test_fields_survive_a_round_trip(scorer: Scorer) -> None:
    assert type(scorer).model_validate(scorer.model_dump(mode="json")).model_dump() == scorer.model_dump()
