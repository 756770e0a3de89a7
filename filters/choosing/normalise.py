"""Bring scores of different scales onto one: over the whole pool, missing values aside, whatever the order of rows."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Normalisation", "normaliser"]

Normalisation = Literal["none", "minmax", "zscore", "rank"]


def normaliser(scores: NDArray[Any], how: Normalisation) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Return the function that normalises scores by what is known of a whole pool.

    minmax maps the lowest score to 0 and the highest to 1; zscore subtracts the mean and divides by the standard
    deviation (of the population); rank gives the share of scores that are lower, ties the middle of theirs, in (0, 1).
    Where all scores are the same, minmax and zscore give 0. A missing score (NaN) stays missing.

    Args:
        scores: (n,) the pool's, in any order.
        how: which of the four.
    """
    present = np.sort(scores[~np.isnan(scores)])  # sorted: sums do not depend on the order of rows
    if how == "none" or len(present) == 0:
        return lambda values: values.astype(np.float64)
    if how == "rank":
        return lambda values: _ranks(values, present)
    known = present.astype(np.float64, copy=False)
    if how == "minmax":
        shift, scale = known[0], known[-1] - known[0]
    else:
        shift = known.mean()
        scale = np.sqrt(np.square(known - shift).mean()) if known[0] < known[-1] else 0.0
    return lambda values: (values.astype(np.float64) - shift) / (scale if scale > 0 else np.inf)


def _ranks(values: NDArray[Any], present: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mid-rank of each value among the sorted scores, as a share of them."""
    lower, upper = (np.searchsorted(present, values, side) for side in ("left", "right"))
    return np.where(np.isnan(values), np.nan, (lower + upper) / (2 * len(present)))
