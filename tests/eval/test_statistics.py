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
    values = np.random.default_rng(0).random(400)
    found = bootstrap(values, draws=8000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


def test_bootstrap_equals_resampling_by_hand() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    rng = np.random.default_rng(5)
    means = [rng.choice([*values, 0.0, 1.0], 5).mean() for _ in range(20000)]  # one more example at either limit
    found = bootstrap(values, draws=20000)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)


def test_pairing_narrows_a_difference() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(500) < 0.5
    b = a ^ (rng.random(500) < 0.05)
    difference = bootstrap(a.astype(float) - b, (-1, 1))
    alone = bootstrap(a.astype(float))
    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)
    assert difference.value == pytest.approx(a.mean() - b.mean())


def test_strata_narrow_what_differs_between_classes_only() -> None:
    """Fifty examples a class, of which one class is nearly all right and the other nearly all wrong."""
    values, classes = np.r_[np.ones(48), 0, 0, np.zeros(48), 1, 1], np.repeat([0, 1], 50)
    within, across = stratified_bootstrap(values, classes), bootstrap(values)
    assert within.value == across.value == 0.5
    assert within.high - within.low < 0.6 * (across.high - across.low)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 5)), min_size=1, max_size=30),
    st.sampled_from([0.05, 0.002]),
)
def test_the_interval_holds_its_value_and_is_no_point(examples: list[tuple[float, int]], level: float) -> None:
    values, classes = np.array([value for value, _ in examples]), np.array([label for _, label in examples])
    found = stratified_bootstrap(values, classes, level=level, draws=400)
    expected = np.mean([values[classes == label].mean() for label in np.unique(classes)])
    assert found.value == pytest.approx(expected)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_the_names_of_the_classes_do_not_matter() -> None:
    values = np.array([1.0, 0, 1, 1, 0])
    found = [stratified_bootstrap(values, classes) for classes in (np.array([3, 3, 1, 1, 7]), np.array(list("bbaac")))]
    assert found[0] == found[1]


def test_four_equal_outcomes_are_no_proof() -> None:
    """All four right against all four wrong: the exact test says 0.125, and the interval reaches zero."""
    found = bootstrap(np.ones(4), (-1, 1), draws=10_000)
    assert found.value == 1.0
    assert found.low <= 0
    assert mcnemar(np.ones(4, bool), np.zeros(4, bool)) == pytest.approx(0.125)


COVERAGE = [(1, 50), (2, 50), (3, 30), (5, 20), (50, 9), (1, 12), (2, 6)]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "count"), COVERAGE)
@pytest.mark.parametrize("spread", [(0.2, 0.9), (0.5, 0.6), (0.0, 1.0), (0.85, 1.0)])
def test_mean_per_class_recall_is_covered(size: int, count: int, spread: tuple[float, float]) -> None:
    """Of 600 test sets at least 92.3 % have intervals that hold the truth: three deviations below 95 %."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(count), size)
    hits = 0
    for seed in range(600):
        chances = rng.uniform(*spread, count)
        right = (rng.random(len(labels)) < chances[labels]).astype(float)
        found = stratified_bootstrap(right, labels, draws=1000, seed=seed)
        hits += found.low <= chances.mean() <= found.high
    assert hits >= 0.923 * 600


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 10, 30, 100])
@pytest.mark.parametrize(("differ", "gain"), [(0.3, 0.0), (0.5, 0.2), (0.1, 0.05), (0.9, 0.8)])
def test_paired_differences_are_covered(size: int, differ: float, gain: float) -> None:
    rng, hits = np.random.default_rng(1), 0
    for seed in range(600):
        change = rng.choice([1.0, -1.0, 0.0], size, p=[(differ + gain) / 2, (differ - gain) / 2, 1 - differ])
        found = bootstrap(change, (-1, 1), draws=1000, seed=seed)
        hits += found.low <= gain <= found.high
    assert hits >= 0.923 * 600


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
