"""How sure a number is: intervals for one score, paired tests for two on the same examples.

Source: Wilson 1927; McNemar 1947 in its exact binomial form; Efron & Tibshirani 1993, percentile bootstrap; Bonett &
Price 2012, Adjusted Wald confidence interval for a difference of binomial proportions based on paired data; Holm 1979.
Intervals and paired tests speak of the test set only: another training seed is a different source of variation, see
`eval/seeds.py`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "bootstrap", "holm", "holm_levels", "mcnemar", "stratified_bootstrap", "wilson"]


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


def bootstrap(
    values: NDArray[np.floating],
    limits: tuple[float, float] = (0.0, 1.0),
    level: float = 0.05,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return the mean of (n,) values with a percentile interval: `stratified_bootstrap` without classes."""
    return stratified_bootstrap(values, np.arange(len(values)), limits, level, draws, seed)


def stratified_bootstrap(
    values: NDArray[np.floating],
    classes: NDArray[np.generic],
    limits: tuple[float, float] = (0.0, 1.0),
    level: float = 0.05,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return the mean of the classes' means, resampling within each class: for mean per-class recall.

    A class of n examples shows only (n - 1) / n of its variance to a resample of itself, one example nothing. So each
    resample draws a share 2 / (n + 1) of a class's examples from all classes together (all of them at n = 1, 4 % at
    n = 50), and the whole set counts one more example at either limit, as Bonett & Price (2012) do for paired
    differences. The interval then holds the truth in 95 % of trials at one, two and three examples a class, and no
    handful of equal outcomes makes it a point.

    Args:
        values: (n,) per-example values.
        classes: (n,) class of each example.
        limits: smallest and largest value there can be: (0, 1) for shares, (-1, 1) for their differences.
        level: chance that the interval misses.
        draws: number of resamples.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    support, code = np.unique(np.round([*values, *limits], 12), return_inverse=True)
    names, mine, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    own = np.zeros((len(names), len(support)))
    np.add.at(own, (mine, code[: len(values)]), 1)
    own /= sizes[:, None]
    point, size = float((own @ support).mean()), len(names) ** 2 / (1 / sizes).sum()
    share = 2 / (sizes[:, None] + 1)
    ends = np.isin(support, support[code[len(values) :]]) / 2
    chances = (size * ((1 - share) * own + share * own.mean(axis=0)) + 2 * ends) / (size + 2)
    # classes of one size and one distribution are drawn together: without classes it is a single draw
    alike, counts = np.unique(np.column_stack([sizes, chances]), axis=0, return_counts=True)
    total = np.full(draws, (size * point + sum(limits)) / (size + 2) - float((chances @ support).mean()))
    for row, count in zip(alike, counts, strict=True):
        drawn = rng.multinomial(int(row[0]) * count, row[1:] / row[1:].sum(), size=draws)
        total += drawn @ support / (row[0] * len(names))
    low, high = np.round(np.quantile(total, [level / 2, 1 - level / 2]), 12)  # nothing is nothing, not 1e-17
    return Estimate(point, max(limits[0], min(point, float(low))), min(limits[1], max(point, float(high))))


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
