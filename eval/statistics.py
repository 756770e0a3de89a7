"""How sure a number is: intervals for one score, paired tests for two on the same examples.

Source: Wilson 1927; McNemar 1947 in its exact binomial form; Efron & Tibshirani 1993, percentile bootstrap; Holm 1979.
Intervals and paired tests speak of the test set only: another training seed is a different source of variation, see
`eval/seeds.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "bootstrap", "holm", "holm_levels", "mcnemar", "stratified_bootstrap", "wilson"]

Part = tuple[NDArray[np.floating], NDArray[np.integer]]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


def wilson(successes: float, trials: int, z: float = 1.959963984540054) -> Estimate:
    """Return a proportion with its Wilson score interval; no trials give the whole of [0, 1].

    Args:
        successes: how many of `trials` succeeded.
        trials: n.
        z: normal quantile; the default is that of 95 %.
    """
    if trials == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    p = successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    return Estimate(p, min(p, max(0.0, float(centre - half))), max(p, min(1.0, float(centre + half))))


def bootstrap(parts: Sequence[Part], draws: int = 2000, seed: int = 0) -> Estimate:
    """Return the mean of the parts' means with a percentile interval from resampling whole clusters.

    One part whose clusters are all different is the ordinary bootstrap of a mean; on per-example differences of two
    systems it is the paired bootstrap. Retrieval has two parts (queries by text, queries by image) and one cluster per
    image, since the captions of an image succeed and fail together.

    Args:
        parts: (values (n,), cluster ids (n,)) for each part; ids are shared between parts.
        draws: number of resamples.
        seed: of the resampling.
    """
    ids, codes = np.unique(np.concatenate([clusters for _, clusters in parts]), return_inverse=True)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=draws).astype(np.float64)
    start, point, total = 0, 0.0, np.zeros(draws)
    for values, clusters in parts:
        mine = codes[start : start + len(clusters)]
        start += len(clusters)
        sums = np.bincount(mine, weights=values.astype(np.float64), minlength=len(ids))
        sizes = np.bincount(mine, minlength=len(ids)).astype(np.float64)
        total += (weights @ sums) / np.maximum(weights @ sizes, 1e-12) / len(parts)
        point += float(np.mean(values)) / len(parts)
    low, high = np.quantile(total, [0.025, 0.975])
    return Estimate(point, float(low), float(high))


def stratified_bootstrap(
    values: NDArray[np.floating], classes: NDArray[np.integer], draws: int = 2000, seed: int = 0
) -> Estimate:
    """Return the mean of the classes' means, resampling within each class: for mean per-class recall.

    Args:
        values: (n,) per-example values.
        classes: (n,) class of each example.
        draws: number of resamples.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    groups = [values[classes == label].astype(np.float64) for label in np.unique(classes)]
    means = [
        rng.multinomial(len(group), np.full(len(group), 1 / len(group)), size=draws) @ group / len(group)
        for group in groups
    ]
    low, high = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
    return Estimate(float(np.mean([group.mean() for group in groups])), float(low), float(high))


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the exact two-sided p-value that two classifiers err equally often on the same examples.

    Args:
        first: (n,) whether the first is right.
        second: (n,) whether the second is right.
    """
    from scipy.stats import binomtest

    only_first = int((first & ~second).sum())
    discordant = only_first + int((~first & second).sum())
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p_values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return p-values adjusted for all of them being looked at: Holm's step-down method.

    Args:
        p_values: (m,) of one family of tests, however they depend on each other.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def holm_levels(p_values: NDArray[np.floating], alpha: float = 0.05) -> NDArray[np.float64]:
    """Return the level at which Holm's method tests each p-value: p <= level just where its adjusted value is <= alpha.

    The k-th smallest is tested at alpha / (m - k + 1) until one fails; the rest keep the level of the first failure, so
    that an interval of confidence 1 - level excludes zero exactly where the difference is declared.

    Args:
        p_values: (m,) of one family of tests.
        alpha: chance that any true null hypothesis of the family is rejected.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = alpha / np.arange(count, 0, -1)
    failed = np.flatnonzero(p_values[order] > steps)
    if len(failed):
        steps[failed[0] :] = steps[failed[0]]
    levels = np.empty(count)
    levels[order] = steps
    return levels
