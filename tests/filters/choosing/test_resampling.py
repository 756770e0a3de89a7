"""Weighted counts against their definition and against real draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.choosing.resampling import drawn, expected_counts, round_counts, uniforms
from filters.strategy import Columns
from winnow.uid import UID


def some_uids(n: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 2**64, (n, 2), dtype=np.uint64).view(UID)[:, 0]


@settings(deadline=None)
@given(
    st.lists(st.just(0.0) | st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(0.0, 60.0), st.floats(0.5, 8.0)
)
def test_expected_counts_are_a_capped_multiple_with_the_right_sum(
    weights: list[float], size: float, most: float
) -> None:
    expected = expected_counts(np.array(weights), size, most)
    positive = np.array(weights) > 0
    assert (expected[~positive] == 0).all()
    assert (expected <= most * (1 + 1e-12)).all()
    assert expected.sum() == pytest.approx(min(size, most * positive.sum()), rel=1e-9, abs=1e-9)
    free = positive & (expected < most * (1 - 1e-9))
    ratios = expected[free] / np.array(weights)[free]
    assert free.sum() < 2 or np.ptp(ratios) <= 1e-9 * ratios.max()
    # whoever is at the cap would get at least the cap under the common multiple
    assert not free.any() or (np.array(weights)[positive & ~free] * ratios.max() >= most * (1 - 1e-6)).all()


def test_expected_counts_agree_with_draws_that_reject_what_was_drawn_often_enough() -> None:
    weights = np.array([100.0, 1, 1, 2, 2, 0])
    rng, total = np.random.default_rng(0), np.zeros(6)
    for _ in range(400):
        draws = rng.choice(6, 2000, p=weights / weights.sum())
        counts = np.cumsum(draws[:, None] == np.arange(6), axis=0)
        capped = np.minimum(counts, 20)
        total += capped[np.flatnonzero(capped.sum(axis=1) == 50)[0]]
    # the mean of 400 counts of about 10, each with a standard deviation of about 3
    np.testing.assert_allclose(total / 400, expected_counts(weights, 50, 20), atol=0.6)


def test_rounding_holds_in_the_mean_and_depends_on_the_uid_alone() -> None:
    uids = some_uids(4000)
    expected = np.linspace(0, 3, 4000)
    count = round_counts(expected, uids, "test", 0)
    assert (np.abs(count - expected) < 1).all()
    assert abs(count.sum() - expected.sum()) < 4 * np.sqrt(4000 * 0.25)
    np.testing.assert_array_equal(round_counts(expected[::-1], uids[::-1], "test", 0), count[::-1])
    assert (round_counts(expected, uids, "test", 1) != count).any()
    whole = np.arange(10.0)
    assert round_counts(whole, uids[:10], "test", 0).tolist() == list(range(10))


def test_uniforms_are_uniform_and_draws_independent() -> None:
    uids = some_uids(20_000)
    draws = [uniforms(uids, *key) for key in (("a", 0), ("b", 0), ("a", 1), ("a", 0, 1))]
    for values in draws:
        assert ((values >= 0) & (values < 1)).all()
        histogram = np.bincount((values * 16).astype(int), minlength=16)
        assert ((histogram - 1250) ** 2 / 1250).sum() < 44.3  # chi-square, 15 degrees of freedom, 99.99%
    correlation = np.corrcoef(draws)
    assert np.abs(correlation - np.eye(4)).max() < 0.03  # 4 standard deviations


def test_drawn_counts_are_found_again() -> None:
    uids = some_uids(50)
    count = np.arange(50) % 4
    verdict = drawn(uids, count, "not drawn")(Columns(uids[::-1], {}))
    assert verdict.count.tolist() == count[::-1].tolist()
    assert set(verdict.reason[verdict.count == 0]) == {"not drawn"}
    assert drawn(uids[:0], count[:0], "none")(Columns(uids, {})).count.sum() == 0
