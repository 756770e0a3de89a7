"""Two ways to make a training set, compared over training seeds: is the difference theirs, or the seeds'?

A model's score varies with its training seed and with the test examples. The examples are the same for all models, so
they are resampled once for all seeds (a crossed design), while each seed is its own draw of a training.

Source: Student 1908; Welch 1947; Owen 2007, The pigeonhole bootstrap (arXiv 0712.1111), for resampling both ways.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from eval.statistics import Estimate

__all__ = [
    "bootstrap_p_value",
    "hierarchical_bootstrap",
    "interval",
    "resampled_means",
    "seed_residuals",
    "t_interval",
    "welch",
]

MAX_CELLS = 20_000_000
"""Numbers of one block of resampling counts."""


def t_interval(scores: NDArray[np.floating], level: float = 0.95) -> Estimate:
    """Return the mean of (s,) scores with Student's interval, s >= 2: plus and minus 2.48 deviations at three seeds."""
    from scipy.stats import t

    count = len(scores)
    mean = float(np.mean(scores))
    half = float(t.ppf((1 + level) / 2, count - 1) * np.std(scores, ddof=1) / np.sqrt(count))
    return Estimate(mean, mean - half, mean + half)


def welch(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the two-sided p-value that two sets of scores, at least two each, have one mean; spreads may differ."""
    from scipy.stats import t

    parts = [float(np.var(scores, ddof=1)) / len(scores) for scores in (first, second)]
    change = abs(float(np.mean(first) - np.mean(second)))
    if sum(parts) < 1e-24:  # no spread but that of rounding: any difference is one
        return float(change < 1e-12)
    df = sum(parts) ** 2 / sum(part**2 / (len(scores) - 1) for part, scores in zip(parts, (first, second), strict=True))
    return float(2 * t.sf(change / np.sqrt(sum(parts)), df))


def resampled_means(values: NDArray[np.floating], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (draws,) means of resamples of (n,) values.

    Only how often each different value is drawn matters, and outcomes have few different values: that makes it fast.
    """
    different, counts = np.unique(np.round(values, 12), return_counts=True)
    share, block = counts / len(values), max(1, MAX_CELLS // len(different))
    parts = [
        rng.multinomial(len(values), share, size=min(block, draws - start)) @ different / len(values)
        for start in range(0, draws, block)
    ]
    return np.concatenate(parts)


def seed_residuals(outcomes: Iterable[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return how far each seed's score lies from the mean of its group, made larger by sqrt(s / (s - 1)).

    Three seeds of one group say little about their spread; pooled over many groups, which is to assume that seeds
    move all of them alike, they say much. The factor undoes that deviations from a mean of s are too small.

    Args:
        outcomes: (s, e) for each group: s seeds on the same e examples; groups of one seed are left out.
    """
    parts = [np.zeros(0)]
    for group in outcomes:
        seeds = len(group)
        if seeds > 1:
            scores = group.mean(axis=1)
            parts.append((scores - scores.mean()) * np.sqrt(seeds / (seeds - 1)))
    return np.concatenate(parts)


def hierarchical_bootstrap(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    residuals: NDArray[np.floating],
    draws: int = 10_000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return (draws,) differences of mean score: seeds are drawn, then examples, the same for all of them.

    Each draw takes a residual for every seed of either side and a resample of the examples. What a seed does to single
    examples is in both parts, so the interval is a little too wide rather than too narrow.

    Args:
        first: (s1, e) outcomes, s1 seeds on e examples (clusters, where examples come in clusters).
        second: (s2, e) outcomes on the same examples.
        residuals: (r,) of `seed_residuals`; none leave the uncertainty of the test set alone.
        draws: number of resamples.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    difference = resampled_means(first.mean(axis=0) - second.mean(axis=0), draws, rng)
    if len(residuals):
        difference += rng.choice(residuals, (draws, len(first))).mean(axis=1)
        difference -= rng.choice(residuals, (draws, len(second))).mean(axis=1)
    return difference


def interval(value: float, draws: NDArray[np.floating], level: float = 0.05) -> Estimate:
    """Return a value with the percentile interval of confidence 1 - level of its bootstrap draws."""
    low, high = np.quantile(draws, [level / 2, 1 - level / 2])
    return Estimate(value, float(low), float(high))


def bootstrap_p_value(draws: NDArray[np.floating]) -> float:
    """Return the two-sided p-value of no difference: twice the share of draws on the other side of zero, never 0."""
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(draws) + 1))
