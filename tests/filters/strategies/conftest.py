"""A pool of awkward rows, and what the tests of every strategy need to look at it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
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
SIMILARITIES = (
    "clip_l14",
    "clip_flipped",
    "caption_similarity",
    "clip_along",
    "clip_heldout",
    "clip_pool",
    "dfn",
)
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
    nan = float("nan")

    def any_of(*values: Any) -> list[Any]:
        return [values[i] for i in rng.integers(0, len(values), n)]

    def scores() -> Any:
        """Few distinct values, so that ties are the rule, and some missing."""
        values = (rng.integers(0, 12, n) / 12).astype(np.float32)
        values[rng.random(n) < 0.1] = nan
        return values

    pool = make(
        n,
        meta__text=[CAPTIONS[i] for i in caption],
        meta__original_width=[SIZES[i][0] for i in size],
        meta__original_height=[SIZES[i][1] for i in size],
        clip__similarity=similarity,
        masked_clip__similarity=masked,
        language__language=[("en", "en", "de", None)[i] for i in rng.integers(0, 4, n)],
        text_boxes__area_share=[(0.0, 0.19, 0.2, 0.9, float("nan"))[i] for i in rng.integers(0, 5, n)],
        ocr__text=[texts[i] for i in rng.integers(0, len(texts), n)],
        ocr__overlap=any_of(0.0, 0.25, 0.5, 1.0, nan),
        language__confidence=any_of(0.1, 0.5, 0.9, nan),
        cld3__language=any_of("en", "en", "en", "zh-Latn", None),
        vocabulary__match=any_of(True, True, False, None),
        target_clusters__hit=any_of(True, True, False, None),
        clusters__id=any_of(0, 1, 1, 2, 2, 2, 7, nan),
        semantic_duplicates__similarity=any_of(-1.0, 0.3, 0.95, 0.951, 0.99, nan, nan),
        near_duplicates__first=any_of(True, True, False, None),
        hash_multiplicity__count=any_of(1, 1, 2, 3, 40, nan),
        metaclip__probability=any_of(0.0, 0.1, 0.5, 0.9, 1.0, nan),
        metaclip__matches=any_of(0, 1, 2, 9),
        aesthetic__score=any_of(4.9, 5.0, 5.1, 7.0, nan),
        watermark__score=any_of(0.1, 0.79, 0.8, 0.9, nan),
        nsfw__score=any_of(0.01, 0.49, 0.5, 0.9, nan),
        target_similarity__score=any_of(0.1, 0.604169, 0.60417, 0.99, nan),
        prototypes__similarity=scores(),
        **{f"{name}__similarity": scores() for name in SIMILARITIES},
        **{f"{name}__score": scores() for name in ("neg_clip_loss", "norm_sim", "vas")},
        **{f"hyperbolic__{name}": scores() for name in ("image_specificity", "text_specificity", "negative_distance")},
    )
    clusters = rng.integers(0, 5, n)
    pool.columns["prototypes.cluster"] = np.where(rng.random(n) < 0.1, nan, clusters)
    pool.columns["prototypes.intra"] = np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32)[clusters]
    pool.columns["prototypes.inter"] = np.array([0.9, 0.3, 0.8, 0.1, 0.6], np.float32)[clusters]
    return pool


class Chunked:
    """A pool that hands out its rows some at a time, text as Arrow arrays: the way `select` reads one from disk."""

    def __init__(self, columns: Columns, cuts: Iterable[int]) -> None:
        bounds = [0, *sorted(cuts), columns.num_samples]
        self.columns, self.slices = columns, [slice(*pair) for pair in pairwise(bounds)]
        self.num_samples = columns.num_samples

    def chunks(self, names: Iterable[str]) -> Iterator[Columns]:
        wanted = list(names)
        for rows in self.slices:
            part = self.columns.take(rows, wanted)
            yield Columns(part.uids, {name: self.arrow(part[name]) for name in wanted})

    @staticmethod
    def arrow(values: np.ndarray) -> Any:
        return pa.array(values, from_pandas=True) if values.dtype == object else values


@pytest.fixture
def chunked() -> type[Chunked]:
    """Return the pool in chunks: (columns, row numbers to cut before)."""
    return Chunked


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

    def take(self, rows: Any, names: Iterable[str] | None = None) -> Columns:
        self.read.update(self if names is None else names)
        return super().take(rows, names)


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
