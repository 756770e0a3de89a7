"""Views of a pool against plain NumPy."""

from typing import Any

import numpy as np
import pytest

from filters.choosing.ranking import Computed, flags_of, in_uid_order, lowest_hashes, nth_highest, top
from filters.strategy import Columns, Verdict
from filters.subset import hash_uids
from winnow.uid import UID


@pytest.fixture
def pool() -> Columns:
    rng = np.random.default_rng(0)
    uids = rng.integers(0, 4, (60, 2), dtype=np.uint64).view(UID)[:, 0]  # few words: high words tie
    uids = np.unique(uids)
    rng.shuffle(uids)
    return Columns(uids, {"a.b": rng.integers(0, 3, len(uids)), "a.c": rng.random(len(uids)).astype(np.float32)})


def test_in_uid_order_is_a_plain_sort(pool: Columns) -> None:
    rows = in_uid_order(pool, ["a.b", "a.c"])
    order = sorted(range(pool.num_samples), key=lambda row: pool.uids[row].item())
    assert rows.uids.tolist() == pool.uids[order].tolist()
    np.testing.assert_array_equal(rows["a.c"], pool["a.c"][order])
    assert rows["a.c"].dtype == np.float32
    assert in_uid_order(pool.take(slice(0, 0)), ["a.c"]).num_samples == 0


def test_computed_columns_stand_beside_the_others(pool: Columns) -> None:
    more = Computed(pool, "sum", ("a.b", "a.c"), lambda columns: columns["a.b"] + columns["a.c"])
    (both,) = more.chunks(["a.c", "sum"])
    assert list(both) == ["a.c", "sum"]
    np.testing.assert_array_equal(both["sum"], pool["a.b"] + pool["a.c"])
    (one,) = more.chunks(["a.b"])
    assert list(one) == ["a.b"]
    assert more.num_samples == pool.num_samples


def test_top_of_a_computed_column_is_a_plain_sort(pool: Columns) -> None:
    more = Computed(pool, "double", ("a.b",), lambda columns: 2.0 * columns["a.b"])
    for size in (0, 1, 7, pool.num_samples, 99):
        keep = top(more, "double", size).keeps(2.0 * pool["a.b"], pool.uids)
        hashes = hash_uids(pool.uids)
        rows = sorted(range(pool.num_samples), key=lambda row: (-pool["a.b"][row], hashes[row]))
        assert np.flatnonzero(keep).tolist() == sorted(rows[:size])


@pytest.mark.parametrize(
    ("values", "true", "known"),
    [
        (np.array([True, False, None], dtype=object), [True, False, False], [True, True, False]),
        (np.array([True, False, True]), [True, False, True], [True, True, True]),
        (np.array([None, None, None], dtype=object), [False] * 3, [False] * 3),
        (np.full(3, np.nan), [False] * 3, [False] * 3),
    ],
)
def test_flags(values: Any, true: list[bool], known: list[bool]) -> None:
    flags, there = flags_of(Columns(np.zeros(3, UID), {"a.b": values}), "a.b")
    assert flags.tolist() == true
    assert there.tolist() == known


def test_nothing_and_all() -> None:
    assert np.isnan(nth_highest(np.array([np.nan, np.nan]), 1))
    assert nth_highest(np.array([0.1, np.nan, 0.3]), 9) == 0.1
    assert lowest_hashes(np.zeros(0, UID), 0) == (-1, 0, 0)
    assert Verdict.of_counts(np.array([0, 2]), "no").reason.tolist() == ["no", ""]
