"""The highest of a score, by two rules: exactly n, ties broken by uid, or DataComp's threshold, which ties survive.

And the views of a pool that strategies rank in: what another strategy keeps, with a computed score, in order of uid.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.strategy import Columns, Judge, Pool
from filters.subset import argsort_uids, hash_uids, precedes
from winnow.uid import UID

__all__ = [
    "Computed",
    "Cut",
    "Kept",
    "Score",
    "datacomp_threshold",
    "flags_of",
    "in_uid_order",
    "lowest_hashes",
    "nth_highest",
    "num_of",
    "scores_of",
    "top",
    "whole",
]

Score = Callable[[Columns], NDArray[np.floating[Any]]]
"""Gives each row a number by itself, NaN where it has none."""


def scores_of(column: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return a column as floats, None as NaN; a float column keeps its precision, so that thresholds compare in it."""
    return column if np.issubdtype(column.dtype, np.floating) else np.array(column, dtype=np.float64)


def flags_of(columns: Columns, name: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (n,) whether a column of booleans is true, False where it is missing, and (n,) whether it is there."""
    values: pa.Array = columns.arrow(name).cast(pa.bool_())
    true = values.fill_null(False).to_numpy(zero_copy_only=False)
    return true, values.is_valid().to_numpy(zero_copy_only=False)


def num_of(fraction: float, num_samples: int) -> int:
    """Return floor(fraction * n), safe from 0.29 * 100 being 28.999999999999996."""
    return min(num_samples, math.floor(fraction * num_samples + 1e-9))


def whole(pool: Pool, name: str) -> NDArray[np.floating[Any]]:
    """Return (n,) a column of scores of the whole pool, NaN where missing."""
    out, start = np.zeros(pool.num_samples, np.float16), 0
    for columns in pool.chunks([name]):
        scores = scores_of(columns[name])
        if scores.dtype != out.dtype:
            out = out.astype(np.result_type(out, scores))
        out[start : start + len(scores)] = scores
        start += len(scores)
    return out


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


class Computed:
    """A pool with one more column, computed from others row by row."""

    def __init__(
        self, pool: Pool, name: str, needs: tuple[str, ...], compute: Callable[[Columns], NDArray[Any]]
    ) -> None:
        """Take a pool, the new column's name, the columns it is computed from, and how."""
        self.pool, self.name, self.needs, self.compute = pool, name, needs, compute
        self.num_samples = pool.num_samples

    def chunks(self, names: Iterable[str]) -> Iterator[Columns]:
        """Yield the named columns, the new one among them if it is named."""
        wanted = tuple(names)
        others = tuple(name for name in wanted if name != self.name)
        for columns in self.pool.chunks(dict.fromkeys((*others, *self.needs))):
            given = {name: columns[name] for name in others}
            if self.name in wanted:
                given[self.name] = self.compute(columns)
            yield Columns(columns.uids, given)


def in_uid_order(pool: Pool, names: Iterable[str]) -> Columns:
    """Return whole columns with their rows sorted by uid.

    What is computed from them, sums of floating-point numbers too, cannot depend on the order of the pool's rows. For
    columns of numbers: it costs their size and 16 bytes a row, twice while it sorts.
    """
    names = tuple(names)
    parts = [(columns.uids, [scores_of(columns[name]) for name in names]) for columns in pool.chunks(names)]
    uids = np.concatenate([np.zeros(0, UID), *(part for part, _ in parts)])
    order = argsort_uids(uids)
    empty = np.zeros(0, np.float32)
    values = {name: np.concatenate([empty, *(part[i] for _, part in parts)])[order] for i, name in enumerate(names)}
    return Columns(uids[order], values)


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
    descending = -scores
    descending.partition(position)
    return float(descending[position] * -1)
