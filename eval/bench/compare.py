"""Compare strategies by the models trained on what they kept: against random subsets of their size, and each other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eval.bench.data import Comparison, Score, SeedTest, Table
from eval.bench.outcomes import Outcomes
from eval.seeds import (
    bootstrap_p_value,
    hierarchical_bootstrap,
    interval,
    resampled_means,
    seed_residuals,
    t_interval,
    welch,
)
from eval.statistics import holm, holm_levels, mcnemar

__all__ = ["compare_pair", "make_table"]


@dataclass(frozen=True)
class _Draws:
    """A comparison that is not corrected for the others of its family yet, and its bootstrap draws."""

    comparison: Comparison
    draws: NDArray[np.float64]


def make_table(outcomes: Outcomes, controls: Mapping[str, str], draws: int, seed: int = 0) -> Table:
    """Return scores, and every strategy against its control and against no_filter.

    A family of tests is all strategies of the table against one kind of rival.

    Args:
        outcomes: of one recipe, task and metric.
        controls: strategy -> the random subset of its size.
        draws: number of resamples.
        seed: of the resampling.
    """
    subsets = outcomes.by_subset
    residuals = seed_residuals(outcomes.of(name) for name in sorted(subsets))
    drawn = set(controls.values())
    strategies = [name for name in sorted(subsets) if name not in drawn and name != "no_filter"]
    comparisons: list[Comparison] = []
    for role in ("control", "no_filter"):
        rivals = {name: controls.get(name, "") if role == "control" else "no_filter" for name in strategies}
        pairs = [(name, rival) for name, rival in rivals.items() if rival in subsets]
        comparisons += _family(outcomes, pairs, role, residuals, draws, seed)
    scores = sorted(
        (_score(outcomes, name, draws, seed) for name in subsets), key=lambda score: (-score.mean.value, score.subset)
    )
    return Table(
        outcomes.recipe, outcomes.task, outcomes.metric, len(outcomes.examples), outcomes.chance, scores, comparisons
    )


def compare_pair(outcomes: Outcomes, first: str, second: str, draws: int, seed: int = 0) -> Comparison | None:
    """Return one strategy against another, a family of one test; None where either has no models."""
    if first not in outcomes.by_subset or second not in outcomes.by_subset:
        return None
    residuals = seed_residuals(outcomes.of(name) for name in sorted(outcomes.by_subset))
    return _family(outcomes, [(first, second)], "strategy", residuals, draws, seed)[0]


def _family(
    outcomes: Outcomes,
    pairs: Iterable[tuple[str, str]],
    role: str,
    residuals: NDArray[np.float64],
    draws: int,
    seed: int,
) -> list[Comparison]:
    """Compare the pairs and correct for their number."""
    found = [_one(outcomes, first, second, role, residuals, draws, seed) for first, second in pairs]
    p_values = np.array([item.comparison.p_value for item in found])
    adjusted, levels = holm(p_values), holm_levels(p_values)
    return [
        replace(
            item.comparison,
            corrected=interval(item.comparison.difference.value, item.draws, float(levels[number])),
            p_holm=float(adjusted[number]),
        )
        for number, item in enumerate(found)
    ]


def _one(
    outcomes: Outcomes, first: str, second: str, role: str, residuals: NDArray[np.float64], draws: int, seed: int
) -> _Draws:
    """Compare two subsets."""
    here, there = outcomes.of(first), outcomes.of(second)
    resampled = hierarchical_bootstrap(here, there, residuals, draws, seed)
    value = float(here.mean() - there.mean())
    difference, p_value = interval(value, resampled), bootstrap_p_value(resampled)
    several = min(len(here), len(there)) > 1
    mine, theirs = outcomes.by_subset[first], outcomes.by_subset[second]
    tests = [_seed_test(name, mine[name], theirs[name], outcomes.is_binary, draws) for name in mine if name in theirs]
    comparison = Comparison(
        strategy=first,
        rival=second,
        role=role,
        num_seeds=(len(here), len(there)),
        difference=difference,
        corrected=difference,
        p_value=p_value,
        p_holm=p_value,
        p_welch=welch(here.mean(axis=1), there.mean(axis=1)) if several else None,
        by_seed=tests,
    )
    return _Draws(comparison, resampled)


def _seed_test(
    seed: str, first: NDArray[np.float64], second: NDArray[np.float64], is_binary: bool, draws: int
) -> SeedTest:
    """Compare two models on the same examples."""
    change = first - second
    resampled = resampled_means(change, draws, np.random.default_rng(0))
    p_value = mcnemar(first > 0.5, second > 0.5) if is_binary else None
    return SeedTest(seed, interval(float(change.mean()), resampled), p_value)


def _score(outcomes: Outcomes, subset: str, draws: int, seed: int) -> Score:
    """Return a subset's scores."""
    values = outcomes.of(subset)
    scores = values.mean(axis=1)
    by_seed = dict(zip(outcomes.by_subset[subset], scores.tolist(), strict=True))
    if len(scores) > 1:
        return Score(subset, by_seed, t_interval(scores))
    resampled = resampled_means(values[0], draws, np.random.default_rng(seed))
    return Score(subset, by_seed, interval(float(scores[0]), resampled))
