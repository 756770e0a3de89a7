"""A pool of awkward rows, and what the tests of every strategy need to look at it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from filters.strategy import Columns, Strategy, Verdict
from winnow.uid import UID

CAPTIONS = [
    "a photo of a red barn",
    "two words",
    "a b c",  # three words, five characters
    "a b cd",  # three words, six characters
    "",
    None,
    "   \t\n ",
    "日本 の 写真です",
    "naïve café, STRASSE!",
    "one\u2003two\u00a0three",  # white space beyond ASCII separates words
]
SIZES: list[tuple[Any, Any]] = [
    (200, 200),
    (199, 400),
    (200, 600),
    (200, 601),
    (600, 200),
    (0, 300),
    (None, 300),
    (300, None),
    (-5, 300),
    (4000, 3000),
]
SCORES = [0.3, 0.28, 0.2800001, 0.1, 0.3, 0.3, float("nan"), 0.25, -0.02, 0.3]


def make(num_samples: int, **columns: Any) -> Columns:
    """Return columns with distinct random uids; `meta__text=...` becomes "meta.text"."""
    uids = np.random.default_rng(num_samples).integers(0, 2**64, (num_samples, 2), dtype=np.uint64).view(UID)[:, 0]
    named = {}
    for name, values in columns.items():
        kind = object if any(value is None or isinstance(value, str) for value in values) else None
        named[name.replace("__", ".")] = np.array(values, dtype=kind)
    return Columns(uids, named)


@pytest.fixture
def columns() -> Callable[..., Columns]:
    """Return `make`: (num_samples, scorer__column=values) -> Columns."""
    return make


@pytest.fixture
def awkward() -> Columns:
    """200 rows: every default column, with ties, NaN, None, empty and unicode captions, zero and boundary sizes."""
    rng = np.random.default_rng(7)
    n = 200
    caption, size, score = (rng.integers(0, 10, n) for _ in range(3))
    similarity = np.array([SCORES[i] for i in score], dtype=np.float32)
    masked = np.where(rng.random(n) < 0.5, similarity, similarity - np.float32(0.1))
    masked[rng.random(n) < 0.05] = np.nan
    texts = ["", "RED barn", "café naive strasse", None, "unrelated words here", "a b cd"]
    return make(
        n,
        meta__text=[CAPTIONS[i] for i in caption],
        meta__original_width=[SIZES[i][0] for i in size],
        meta__original_height=[SIZES[i][1] for i in size],
        clip__similarity=similarity,
        masked_clip__similarity=masked,
        language__language=[("en", "en", "de", None)[i] for i in rng.integers(0, 4, n)],
        text_boxes__area_share=[(0.0, 0.19, 0.2, 0.9, float("nan"))[i] for i in rng.integers(0, 5, n)],
        ocr__text=[texts[i] for i in rng.integers(0, len(texts), n)],
    )


class Watched(Columns):
    """Columns that remember which of them were read."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns.uids, columns.columns)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def arrow(self, name: str) -> Any:
        self.read.add(name)
        return super().arrow(name)


@pytest.fixture
def watched(awkward: Columns) -> Watched:
    """The awkward pool, watched."""
    return Watched(awkward)


@pytest.fixture
def reorder() -> Callable[[Columns, Any], Columns]:
    """Return a function from columns and rows to the columns of those rows."""
    return lambda columns, rows: Columns(columns.uids[rows], {name: columns[name][rows] for name in columns})


@pytest.fixture
def kept() -> Callable[[Strategy, Columns], list[int]]:
    """Return a function that gives the rows a strategy keeps, having checked that its verdict is well formed."""

    def rows(strategy: Strategy, columns: Columns) -> list[int]:
        verdict: Verdict = strategy.select(columns)
        assert (verdict.keep == (verdict.reason == "")).all()
        return np.flatnonzero(verdict.keep).tolist()

    return rows
