"""The highest of a score, by two rules: exactly n, ties broken by uid, or DataComp's threshold, which ties survive."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.strategy import Columns, Judge, Pool
from filters.subset import hash_uids, precedes

__all__ = ["Cut", "Kept", "datacomp_threshold", "lowest_hashes", "nth_highest", "num_of", "scores_of", "top", "whole"]


def scores_of(column: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return a column as floats, None as NaN; a float column keeps its precision, so that thresholds compare in it."""
    return column if np.issubdtype(column.dtype, np.floating) else np.array(column, dtype=np.float64)


def num_of(fraction: float, num_samples: int) -> int:
    """Return floor(fraction * n), safe from 0.29 * 100 being 28.999999999999996."""
    return min(num_samples, math.floor(fraction * num_samples + 1e-9))


def whole(pool: Pool, name: str) -> NDArray[np.floating[Any]]:
    """Return (n,) a column of scores of the whole pool, NaN where missing."""
    parts = [scores_of(columns[name]) for columns in pool.chunks([name])]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


class Kept:
    """The pool of those rows that a judge keeps, each once: what the next of two filters in a row looks at."""

    def __init__(self, pool: Pool, judge: Judge, needs: tuple[str, ...]) -> None:
        """Take a pool, the judge of its rows and the columns which that judge reads."""
        self.pool, self.judge, self.needs = pool, judge, needs
        self.num_samples = sum(int(judge(columns).keep.sum()) for columns in pool.chunks(needs))

    def chunks(self, names: Iterable[str]) -> Iterator[Columns]:
        """Yield the kept rows of each chunk."""
        for columns in self.pool.chunks(dict.fromkeys((*self.needs, *names))):
            yield columns.take(self.judge(columns).keep, names)


@dataclass(frozen=True)
class Cut:
    """Where the highest n scores of a pool end, ties included: a row can be told by itself on which side it lies."""

    score: float
    """The lowest score that is kept, NaN where nothing is."""
    last: tuple[int, int, int]
    """Of the scores that tie with it, those whose (hash of uid, uid) comes up to this are kept."""

    def keeps(self, scores: NDArray[Any], uids: NDArray[np.void]) -> NDArray[np.bool_]:
        """Mark what is kept: (n,) bool of (n,) scores and uids."""
        keep: NDArray[np.bool_] = scores > self.score
        ties = np.flatnonzero(scores == self.score)
        keep[ties] = precedes(hash_uids(uids[ties]), uids[ties], self.last)
        return keep


def top(pool: Pool, name: str, num_kept: int) -> Cut:
    """Return the cut that keeps exactly the `num_kept` highest scores, fewer only where fewer are no NaN.

    Scores that tie at the cut are told apart by a hash of their uid: no order of rows favours any.

    Args:
        pool: distinct uids.
        name: the column of scores.
        num_kept: how many.
    """
    scores = whole(pool, name)
    cut = nth_highest(scores, num_kept)
    if math.isnan(cut):
        return Cut(cut, (0, 0, 0))
    num_ties = min(num_kept, int((~np.isnan(scores)).sum())) - int((scores > cut).sum())
    del scores
    tied = [columns.uids[scores_of(columns[name]) == cut] for columns in pool.chunks([name])]
    return Cut(cut, lowest_hashes(np.concatenate(tied), num_ties))


def lowest_hashes(uids: NDArray[np.void], size: int, seed: int = 0) -> tuple[int, int, int]:
    """Return the last of the `size` lowest (hash, upper word, lower word) of uids; see `precedes`.

    Args:
        uids: (n,) distinct, in any order.
        size: in [0, n].
        seed: another seed hashes otherwise.
    """
    if size == 0:
        return (-1, 0, 0)
    hashes = hash_uids(uids, seed)
    cut = np.partition(hashes, size - 1)[size - 1]
    ties = uids[hashes == cut]
    ties = ties[np.lexsort((ties["f1"], ties["f0"]))]
    last = ties[size - 1 - int((hashes < cut).sum())]
    return int(cut), int(last["f0"]), int(last["f1"])


def nth_highest(scores: NDArray[Any], rank: int) -> float:
    """Return the `rank`-th highest score (1 is the highest), NaN aside.

    The lowest if there are fewer; NaN if there is none or `rank` is 0.
    """
    present = scores[~np.isnan(scores)]
    rank = min(rank, len(present))
    if rank == 0:
        return math.nan
    present.partition(len(present) - rank)
    return float(present[len(present) - rank])


def datacomp_threshold(scores: NDArray[Any], fraction: float) -> float:
    """Return DataComp's threshold for a fraction: `-sort(-scores)[int(n * fraction)]`, to be compared with >=.

    Its consequences are kept: the element at 0-based position int(n * fraction) survives, so one sample more than asked
    for does, and all that tie with it; NaN counts in n and sorts last, so the threshold is NaN, and nothing survives,
    where more than a `1 - fraction` share is NaN. Where the position overruns the array (fraction 1.0, an IndexError
    there), the threshold is the lowest score: every sample with a score survives.

    Source: DataComp, baselines/apply_filter.py.
    """
    position = int(len(scores) * fraction)
    if position >= len(scores):
        return nth_highest(scores, len(scores))
    return float(np.sort(-scores)[position] * -1)
