"""The quadratic programme against SciPy's general solver, and its rounding."""

import numpy as np
import pytest
from scipy.optimize import minimize

from filters.choosing.quotas import quotas, round_quotas


@pytest.mark.parametrize("seed", range(12))
def test_against_a_general_solver(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 9))
    sizes = rng.integers(1, 400, k)
    total = int(rng.integers(1, sizes.sum() + 1))
    shares = rng.dirichlet(np.full(k, 0.5))
    lower = np.minimum(total / k / 2, sizes - 1)
    mine = quotas(shares, total, lower, sizes)
    start = lower + (sizes - lower) * (total - lower.sum()) / (sizes - lower).sum()
    solved = minimize(
        lambda x: ((x - shares * total) ** 2).sum() / total**2,
        start,
        jac=lambda x: 2 * (x - shares * total) / total**2,
        bounds=list(zip(lower, sizes, strict=True)),
        constraints={"type": "eq", "fun": lambda x: x.sum() - total, "jac": lambda x: np.ones(k)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(mine, solved.x, atol=1e-3 * total)
    assert ((mine - shares * total) ** 2).sum() <= ((solved.x - shares * total) ** 2).sum() + 1e-6 * total**2
    assert mine.sum() == pytest.approx(total, rel=1e-12)
    assert ((mine >= lower) & (mine <= sizes)).all()


def test_it_meets_the_conditions_of_optimality() -> None:
    """All that lie within their bounds are off by one and the same number (Karush, Kuhn, Tucker)."""
    rng = np.random.default_rng(0)
    shares, sizes = rng.dirichlet(np.full(200, 0.3)), rng.integers(1, 900, 200)
    total = int(sizes.sum() * 0.4)
    lower = np.minimum(total / 200 / 2, sizes - 1)
    mine = quotas(shares, total, lower, sizes)
    shift = shares * total - mine
    inside = (mine > lower) & (mine < sizes)
    assert inside.sum() > 20
    assert np.ptp(shift[inside]) < 1e-8 * total
    assert (shift[mine == lower] <= shift[inside].max() + 1e-8 * total).all()
    assert (shift[mine == sizes] >= shift[inside].min() - 1e-8 * total).all()


def test_shares_that_fit_are_met_exactly() -> None:
    np.testing.assert_allclose(quotas(np.array([0.2, 0.3, 0.5]), 100, np.zeros(3), np.full(3, 90)), [20, 30, 50])
    np.testing.assert_allclose(quotas(np.array([0.9, 0.05, 0.05]), 100, np.zeros(3), np.full(3, 50)), [50, 25, 25])
    assert quotas(np.array([1.0]), 7, np.array([3.0]), np.array([7])).tolist() == [7]


def test_rounding() -> None:
    assert round_quotas(np.array([1.5, 1.5, 2.0]), 5, np.array([9, 9, 9])).tolist() == [2, 1, 2]
    assert round_quotas(np.array([0.9, 2.3, 1.8]), 5, np.array([9, 9, 9])).tolist() == [1, 2, 2]
    assert round_quotas(np.array([2.9999999999, 0.0000000001]), 3, np.array([3, 5])).tolist() == [3, 0]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        upper = rng.integers(0, 20, 30)
        total = int(rng.integers(0, upper.sum() + 1))
        whole = round_quotas(quotas(rng.dirichlet(np.ones(30)), total, np.zeros(30), upper), total, upper)
        assert whole.sum() == total
        assert ((whole >= 0) & (whole <= upper)).all()
