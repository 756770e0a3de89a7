import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.order import Order


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 5), st.integers(0, 4))
def test_every_pass_is_a_permutation(num_samples: int, seed: int, one_pass: int) -> None:
    order = Order(np.arange(num_samples), seed)
    found = order.indices(one_pass * num_samples, num_samples)
    assert sorted(found.tolist()) == list(range(num_samples))


def test_passes_and_seeds_differ() -> None:
    order = Order(np.arange(100), 0)
    first, second = order.indices(0, 100).tolist(), order.indices(100, 100).tolist()
    assert first != second
    assert first != Order(np.arange(100), 1).indices(0, 100).tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(0, 100), st.integers(1, 70), st.integers(0, 70))
def test_any_window_of_one_sequence(num_samples: int, start: int, count: int, cut: int) -> None:
    order = Order(np.arange(num_samples), 3)
    cut = min(cut, count)
    whole = order.indices(start, count)
    parts = [Order(np.arange(num_samples), 3).indices(start, cut), order.indices(start + cut, count - cut)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_every_place_is_equally_likely() -> None:
    """Chi-square of which of 6 samples comes first: 5 degrees of freedom, 99.9% quantile 20.5."""
    first = [Order(np.arange(6), seed).indices(0, 1)[0] for seed in range(1200)]
    counts = np.bincount(first, minlength=6)
    assert ((counts - 200) ** 2 / 200).sum() < 20.5


def test_copies_are_spread_over_the_pass() -> None:
    identities = np.concatenate([np.arange(1000), np.arange(100), np.arange(100)])  # 100 samples thrice
    order = Order(identities, 0).indices(0, 1200)
    for identity in range(100):
        places = np.sort(np.flatnonzero(identities[order] == identity))
        assert len(places) == 3
        assert np.diff(places) == pytest.approx([400, 400], abs=60)  # a batch of 256 holds one of them
