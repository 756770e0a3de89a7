from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from filters.strategy import Columns
from winnow.uid import UID

NUM, WIDTH = 300, 16
WORDS = ["a", "dog", "cat", "red", "house", "of", "New York", "tree.", "sky", "SALE"]


class Chunks:
    """A pool of several chunks."""

    def __init__(self, parts: list[Columns]) -> None:
        self.parts = parts
        self.num_samples = sum(part.num_samples for part in parts)

    def chunks(self, names: Iterable[str]) -> Iterator[Columns]:
        names = list(names)
        for part in self.parts:
            yield part.take(slice(None), names)


@pytest.fixture
def uids() -> Callable[[int], Any]:
    """Return a function from n to n random uids."""

    def make(num: int, seed: int = 0) -> Any:
        words = np.random.default_rng(seed).integers(0, 2**64, (num, 2), dtype=np.uint64)
        out = np.empty(num, UID)
        out["f0"], out["f1"] = words.T
        return out

    return make


@pytest.fixture
def pool(uids: Callable[..., Any]) -> Columns:
    """300 samples: embeddings in groups, captions, hashes with near-duplicates and placeholders."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((7, WIDTH))
    images = centers[rng.integers(0, 7, NUM)] + 0.4 * rng.standard_normal((NUM, WIDTH))
    texts = images + 0.5 * rng.standard_normal((NUM, WIDTH))
    images[10], images[20] = images[11], images[21] * 3
    hashes = rng.integers(0, 2**64, 60, dtype=np.uint64)[rng.integers(0, 60, NUM)]
    hashes ^= np.uint64(1) << rng.integers(0, 64, NUM, dtype=np.uint64)
    captions = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(0, 7, NUM)]
    return Columns(
        uids(NUM),
        {
            "clip.image_embedding": images.astype(np.float16),
            "clip.text_embedding": texts.astype(np.float16),
            "phash.hash": hashes,
            "meta.text": pa.array(captions),
            "meta.sha256": pa.array([f"{min(n % 50, 30) * 7919:064x}" for n in range(NUM)]),
        },
    )


@pytest.fixture
def cut() -> Callable[..., Chunks]:
    """Return a function that puts the rows of a pool in another order and cuts them into chunks."""

    def make(columns: Columns, order: Any, ends: Iterable[int] = ()) -> Chunks:
        moved = columns.take(np.asarray(order))
        bounds = [0, *ends, moved.num_samples]
        return Chunks([moved.take(slice(a, b)) for a, b in pairwise(bounds)])

    return make


@pytest.fixture
def unit() -> Callable[[Any], Any]:
    """Return a function that scales rows to length 1 in float64."""

    def scale(vectors: Any) -> Any:
        vectors = np.asarray(vectors, np.float64)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return scale
