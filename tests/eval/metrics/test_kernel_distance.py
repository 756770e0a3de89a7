import numpy as np
import pytest

from eval.metrics.kernel_distance import kernel_distance


def test_against_loops_over_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)) + 1

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 4 + 1) ** 3)

    within = np.mean([k(x[i], x[j]) for i in range(6) for j in range(6) if i != j])
    other = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(within + other - 2 * across)


def test_is_unbiased_at_zero() -> None:
    rng = np.random.default_rng(1)
    values = [kernel_distance(rng.normal(size=(20, 3)), rng.normal(size=(20, 3))) for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert min(values) < 0 < max(values)
