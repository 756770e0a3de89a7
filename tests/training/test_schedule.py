import itertools

import pytest

from training.schedule import learning_rate


def test_shape() -> None:
    rates = [learning_rate(1.0, seen, 10, 50, 250) for seen in range(0, 250, 10)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])  # base x (step + 1) / warm-up steps
    assert rates[5] == 1.0
    assert rates[15] == pytest.approx(0.5)  # half-way through the cosine
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[5:]))
    assert learning_rate(1.0, 250, 10, 50, 250) == pytest.approx(0)


def test_no_warmup_starts_at_the_peak() -> None:
    assert learning_rate(3.0, 0, 10, 0, 100) == 3.0
