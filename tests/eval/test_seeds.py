import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t, ttest_ind

from eval.seeds import (
    bootstrap_p_value,
    hierarchical_bootstrap,
    interval,
    resampled_means,
    seed_residuals,
    t_interval,
    welch,
)


def test_t_interval_is_the_textbooks() -> None:
    scores = np.array([0.31, 0.35, 0.33])
    found = t_interval(scores)
    assert found.value == pytest.approx(0.33)
    # the half-width at three seeds is 2.48 standard deviations, 1.24 at five
    assert found.high - found.value == pytest.approx(2.484 * scores.std(ddof=1), rel=1e-3)
    assert t_interval(np.arange(5.0)).high - 2 == pytest.approx(1.242 * np.arange(5.0).std(ddof=1), rel=1e-3)


def test_welch_by_hand() -> None:
    a, b = np.array([0.5, 0.52, 0.57]), np.array([0.41, 0.44, 0.42, 0.43, 0.45])
    va, vb = a.var(ddof=1) / 3, b.var(ddof=1) / 5
    df = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 4)
    expected = 2 * t.sf(abs(a.mean() - b.mean()) / np.sqrt(va + vb), df)
    assert welch(a, b) == pytest.approx(expected)
    assert welch(a, b) == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue)
    same = np.array([0.5, 0.5])
    assert welch(same, same) == 1.0
    assert welch(same, same + 0.1) == 0.0


def test_resampled_means_equal_a_naive_loop() -> None:
    values = np.random.default_rng(0).choice([-1.0, 0.0, 1 / 3, 2 / 3], size=60)
    rng = np.random.default_rng(1)
    naive = [values[rng.integers(0, 60, 60)].mean() for _ in range(20_000)]
    found = resampled_means(values, 20_000, np.random.default_rng(2))
    assert np.quantile(found, [0.025, 0.5, 0.975]) == pytest.approx(np.quantile(naive, [0.025, 0.5, 0.975]), abs=0.01)


def test_resampling_in_blocks_has_the_right_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.seeds.MAX_CELLS", 5000)
    values = np.random.default_rng(0).normal(size=400)
    found = resampled_means(values, 4001, np.random.default_rng(1))
    assert found.shape == (4001,)
    assert found.std() == pytest.approx(values.std() / 20, rel=0.05)


def test_residuals_are_centred_and_unbiased() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(loc=number, scale=0.2, size=(3, 1)) for number in range(4000)]
    found = seed_residuals([*groups, np.ones((1, 1))])
    assert found.shape == (12_000,)
    assert found.reshape(-1, 3).sum(axis=1) == pytest.approx(np.zeros(4000), abs=1e-9)
    assert found.var() == pytest.approx(0.04, rel=0.03)
    assert len(seed_residuals([np.ones((1, 5))])) == 0


def world(rng: np.random.Generator, effect: float, num_groups: int) -> list[NDArray[np.float64]]:
    """Draw (3, 300) outcomes for each group: examples of differing hardness, seeds that move all of them, luck."""
    hard = rng.normal(0.5, 0.3, size=300)
    out = []
    for number in range(num_groups):
        seeds = rng.normal(0, 0.03, size=(3, 1))
        taste = rng.normal(0, 0.2, size=300)  # what this way of training does to single examples
        out.append(hard + taste + seeds + rng.normal(0, 0.2, size=(3, 300)) + (effect if number == 0 else 0.0))
    return out


@pytest.mark.parametrize("num_groups", [2, 12])
def test_interval_covers_the_truth(num_groups: int) -> None:
    """Simulated with known variances: 95 % intervals hold the true difference in about 95 % of the worlds."""
    rng = np.random.default_rng(7)
    worlds, covered, naive = 200, 0, 0
    for number in range(worlds):
        groups = world(rng, 0.05, num_groups)
        residuals = seed_residuals(groups)
        found = interval(0.0, hierarchical_bootstrap(groups[0], groups[1], residuals, draws=300, seed=number))
        covered += found.low <= 0.05 <= found.high
        alone = interval(0.0, hierarchical_bootstrap(groups[0], groups[1], np.zeros(0), draws=300, seed=number))
        naive += alone.low <= 0.05 <= alone.high
    assert 0.92 <= covered / worlds <= 0.985
    assert naive / worlds < 0.85, "without the seeds' part the intervals are far too narrow"


def test_variance_is_that_of_seeds_and_examples() -> None:
    rng = np.random.default_rng(0)
    groups = world(rng, 0.0, 400)
    residuals = seed_residuals(groups)
    draws = hierarchical_bootstrap(groups[0], groups[1], residuals, draws=40_000)
    difference = groups[0].mean(axis=0) - groups[1].mean(axis=0)
    expected = 2 * (0.03**2 + 0.2**2 / 300) / 3 + difference.var() / 300
    assert draws.var() == pytest.approx(expected, rel=0.06)
    assert draws.mean() == pytest.approx(difference.mean(), abs=1e-3)


def test_p_value_and_interval_agree() -> None:
    rng = np.random.default_rng(0)
    for shift in np.linspace(0, 4, 41):
        draws = rng.normal(shift, 1, size=9999)
        found = interval(shift, draws, level=0.05)
        if abs(bootstrap_p_value(draws) - 0.05) > 0.002:
            assert (bootstrap_p_value(draws) < 0.05) == (found.low > 0)
    assert bootstrap_p_value(np.ones(999)) == pytest.approx(0.002)
    assert bootstrap_p_value(np.zeros(999)) == 1.0


def test_same_seed_same_draws() -> None:
    groups = world(np.random.default_rng(0), 0.0, 2)
    residuals = seed_residuals(groups)
    first = hierarchical_bootstrap(groups[0], groups[1], residuals, draws=50, seed=3)
    assert np.array_equal(first, hierarchical_bootstrap(groups[0], groups[1], residuals, draws=50, seed=3))
    assert not np.array_equal(first, hierarchical_bootstrap(groups[0], groups[1], residuals, draws=50, seed=4))
