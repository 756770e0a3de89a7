"""The highest of a score, by two rules: exactly n, ties broken by uid, or DataComp's threshold, which ties survive."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.subset import hash_uids

__all__ = ["datacomp_threshold", "highest", "nth_highest", "num_of", "scores_of"]


def scores_of(column: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return a column as floats, None as NaN; a float column keeps its precision, so that thresholds compare in it."""
    return column if np.issubdtype(column.dtype, np.floating) else np.array(column, dtype=np.float64)


def num_of(fraction: float, num_samples: int) -> int:
    """Return floor(fraction * n), safe from 0.29 * 100 being 28.999999999999996."""
    return min(num_samples, math.floor(fraction * num_samples + 1e-9))


def highest(scores: NDArray[Any], num_kept: int, uids: NDArray[np.void]) -> NDArray[np.bool_]:
    """Mark exactly the `num_kept` highest scores, fewer only where fewer are no NaN.

    Scores that tie at the cut are told apart by a hash of their uid: no order of rows favours any.

    Args:
        scores: (n,) float, NaN where missing.
        num_kept: how many.
        uids: (n,) dtype "u8,u8", distinct.

    Returns:
        (n,) bool.
    """
    keep = np.zeros(len(scores), dtype=bool)
    if math.isnan(cut := nth_highest(scores, num_kept)):
        return keep
    keep[scores > cut] = True
    ties = np.flatnonzero(scores == cut)
    order = np.lexsort((uids["f1"][ties], uids["f0"][ties], hash_uids(uids[ties])))
    keep[ties[order[: num_kept - int(keep.sum())]]] = True
    return keep


def nth_highest(scores: NDArray[Any], rank: int) -> float:
    """Return the `rank`-th highest score (1 is the highest), NaN aside.

    The lowest if there are fewer; NaN if there is none or `rank` is 0.
    """
    present = scores[~np.isnan(scores)]
    rank = min(rank, len(present))
    if rank == 0:
        return math.nan
    return float(np.partition(present, len(present) - rank)[len(present) - rank])


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
