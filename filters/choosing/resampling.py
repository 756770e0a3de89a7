"""Oversampling by weights: how often each sample is to be drawn, and the draw itself, by hash of uid."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.strategy import Columns, Judge, Verdict
from filters.subset import counts, hash_uids, subset_of

__all__ = ["drawn", "expected_counts", "round_counts", "uniforms"]


def uniforms(uids: NDArray[np.void], name: str, seed: int, draw: int = 0) -> NDArray[np.float64]:
    """Return (n,) numbers in [0, 1), a function of uid, name, seed and draw alone.

    The name keeps the draws of different strategies independent: without it they would favour the same uids.
    """
    words = hashlib.sha256(f"{name} {seed} {draw}".encode()).digest()[:8]
    hashes = hash_uids(uids, int.from_bytes(words, "little"))
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def expected_counts(weights: NDArray[Any], size: float, most: float) -> NDArray[np.float64]:
    """Return (n,) min(most, s * weight) with the s that makes them sum to `size`.

    They stand for draws with replacement in which a sample drawn `most` times is drawn no more: the mean counts
    of those, but for samples so near to `most` that chance alone stops some. Where even `most` of each weight above 0
    sums to less than `size`, it is that.

    Args:
        weights: (n,) >= 0.
        size: >= 0.
        most: > 0.
    """
    weights = np.asarray(weights, dtype=np.float64)
    full = np.zeros(len(weights), dtype=bool)
    positive = weights > 0
    while (positive & ~full).any():
        scale = (size - most * full.sum()) / weights[~full].sum()
        over = ~full & (scale * weights >= most)
        if not over.any():
            return np.where(full, most, scale * weights)
        full |= over
    return np.where(full, most, 0.0)


def round_counts(expected: NDArray[np.float64], uids: NDArray[np.void], name: str, seed: int) -> NDArray[np.int64]:
    """Return (n,) integers, each its expected count rounded up or down at random, so that it holds in the mean."""
    below = np.floor(expected)
    return (below + (uniforms(uids, name, seed) < expected - below)).astype(np.int64)


def drawn(uids: NDArray[np.void], count: NDArray[Any], words: str) -> Judge:
    """Return the judge that keeps each of these uids `count` times, and drops what is kept 0 times for `words`."""
    subset = subset_of(uids, count)

    def judge(columns: Columns) -> Verdict:
        return Verdict.of_counts(counts(subset, columns.uids), words)

    return judge
