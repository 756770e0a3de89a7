"""Share a number out over clusters: as close to given shares as the size of each cluster allows, solved exactly.

Source: the quadratic programme of Abbas et al. 2024, Effective pruning of web-scale datasets based on complexity of
concept clusters: minimise |x - shares * total|^2 over x with sum total and lower <= x <= upper.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["quotas", "round_quotas"]


def quotas(shares: NDArray[Any], total: float, lower: NDArray[Any], upper: NDArray[Any]) -> NDArray[np.float64]:
    """Return (k,) real quotas.

    It is the projection of a point onto a simplex within a box, so x = clip(shares * total - m, lower, upper) with one
    number m for all; the sum falls as m grows, and bisection finds it.

    Args:
        shares: (k,) summing to 1.
        total: within [sum of lower, sum of upper].
        lower: (k,) fewest of each.
        upper: (k,) most of each.
    """
    wanted = np.asarray(shares, dtype=np.float64) * total
    low, high = (wanted - upper).min(), (wanted - lower).max()  # there all are at their upper, here at their lower end
    while low < (middle := (low + high) / 2) < high:
        if np.clip(wanted - middle, lower, upper).sum() > total:
            low = middle
        else:
            high = middle
    real: NDArray[np.float64] = np.clip(wanted - high, lower, upper)
    return real


def round_quotas(real: NDArray[np.float64], total: int, upper: NDArray[Any]) -> NDArray[np.int64]:
    """Return (k,) whole quotas that sum to `total`: down, then up where most is missing, lower index first.

    Args:
        real: (k,) summing to `total`.
        total: the sum.
        upper: (k,) integers, the most of each.
    """
    whole: NDArray[np.int64] = np.minimum(np.floor(real + 1e-9), upper).astype(np.int64)  # 2.9999999999 is 3
    order = np.argsort(whole - real, kind="stable")  # the largest remainder first
    order = order[(whole < upper)[order]]
    whole[order[: total - int(whole.sum())]] += 1
    return whole
