import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from eval.statistics import bootstrap, holm, holm_levels, mcnemar, stratified_bootstrap, wilson


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(pair: tuple[int, int]) -> None:
    k, n = pair
    found, expected = wilson(k, n), binomtest(k, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.low <= found.value <= found.high


def test_wilson_without_trials_knows_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_mcnemar_against_the_binomial_tail() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(300) < 0.6, rng.random(300) < 0.5
    wins, losses = int((a & ~b).sum()), int((~a & b).sum())
    tail = binom.cdf(min(wins, losses), wins + losses, 0.5)
    assert mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(a, a) == 1.0


def test_bootstrap_of_a_mean_has_the_textbook_width() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap([(values, np.arange(400))], draws=8000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


def test_bootstrap_equals_resampling_by_hand() -> None:
    values, clusters = np.array([0.0, 1.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 2, 2])
    rng = np.random.default_rng(5)
    means = []
    for _ in range(20000):
        members = np.concatenate([np.flatnonzero(clusters == c) for c in rng.integers(0, 3, 3)])
        means.append(values[members].mean())
    found = bootstrap([(values, clusters)], draws=20000)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)


def test_clusters_that_move_together_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).random(50) < 0.5, 5).astype(float)
    together = bootstrap([(values, np.repeat(np.arange(50), 5))])
    apart = bootstrap([(values, np.arange(250))])
    assert together.high - together.low > 1.8 * (apart.high - apart.low)


def test_pairing_narrows_a_difference() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(500) < 0.5
    b = a ^ (rng.random(500) < 0.05)
    difference = bootstrap([(a.astype(float) - b, np.arange(500))])
    alone = bootstrap([(a.astype(float), np.arange(500))])
    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)
    assert difference.value == pytest.approx(a.mean() - b.mean())


def test_stratified_bootstrap_is_exact_for_pure_classes() -> None:
    found = stratified_bootstrap(np.array([1.0, 1, 1, 0, 0]), np.array([0, 0, 0, 1, 1]))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def naive_holm(p_values: list[float]) -> list[float]:
    """Adjust step by step: the k-th smallest of m times (m - k + 1), and never below the one before."""
    adjusted, before = [0.0] * len(p_values), 0.0
    for step, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        before = max(before, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = before
    return adjusted


P_VALUES = st.lists(st.floats(1e-6, 1), min_size=1, max_size=12)


@given(P_VALUES)
def test_holm_equals_the_steps_by_hand(p_values: list[float]) -> None:
    assert holm(np.array(p_values)) == pytest.approx(naive_holm(p_values))


def test_holm_of_a_published_example() -> None:
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(P_VALUES)
def test_levels_declare_what_adjusted_values_declare(p_values: list[float]) -> None:
    values = np.array(p_values)
    assert np.array_equal(values <= holm_levels(values), holm(values) <= 0.05)
