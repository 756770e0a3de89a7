import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.subset import (
    argsort_uids,
    contains,
    counts,
    hash_uids,
    intersect,
    minus,
    read_subset,
    sample,
    save_subset,
    subset_of,
    union,
    write_subset,
)
from winnow.errors import UserError
from winnow.uid import UID, from_hex, to_hex

# Few distinct words, so that high words tie, low words tie and uids repeat.
words = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1])
bags = st.lists(st.tuples(words, words), max_size=30)


def array(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, dtype=UID)


def multiset(subset: np.ndarray) -> dict[tuple[int, int], int]:
    bag: dict[tuple[int, int], int] = {}
    for pair in subset.tolist():
        bag[pair] = bag.get(pair, 0) + 1
    return bag


def test_round_trip_keeps_repeats_and_reads_as_datacomp_does() -> None:
    uids = [f"{value:032x}" for value in (7, 2**64, 2**128 - 1, 7, 0, 2**64 + 5)]
    data = write_subset(subset_of(from_hex(uids)))
    # DataComp: np.array([(int(uid[:16], 16), int(uid[16:32], 16)) ...], np.dtype("u8,u8")); .sort(); np.save
    theirs = np.array([(int(uid[:16], 16), int(uid[16:32], 16)) for uid in uids], np.dtype("u8,u8"))
    theirs.sort()
    buffer = io.BytesIO()
    np.save(buffer, theirs)
    assert data == buffer.getvalue()
    assert to_hex(read_subset(data)) == sorted(uids)
    raw = read_subset(theirs.tobytes())
    np.testing.assert_array_equal(raw, theirs)


def test_datacomp_finds_its_samples_in_our_file() -> None:
    rng = np.random.default_rng(0)
    uids = rng.integers(0, 2**64, size=(500, 2), dtype=np.uint64).view(UID)[:, 0]
    subset = np.load(io.BytesIO(write_subset(subset_of(uids, np.arange(500) % 3))))
    for row, uid in enumerate(uids[:60]):
        # resharder.py: np.searchsorted(subset, key, "left") and "right" on the structured array
        key = np.array((uid["f0"], uid["f1"]), UID)
        found = np.searchsorted(subset, key, "right") - np.searchsorted(subset, key, "left")
        assert found == row % 3


@given(bags)
def test_argsort_is_the_stable_lexicographic_order(pairs: list[tuple[int, int]]) -> None:
    assert argsort_uids(array(pairs)).tolist() == sorted(range(len(pairs)), key=lambda row: pairs[row])


@given(bags, bags)
def test_algebra_against_multisets(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    a, b = subset_of(array(first)), subset_of(array(second))
    bag_a, bag_b = multiset(a), multiset(b)
    every = sorted(bag_a.keys() | bag_b.keys())
    assert multiset(intersect(a, b)) == {x: min(bag_a[x], bag_b[x]) for x in every if x in bag_a and x in bag_b}
    assert multiset(union(a, b)) == {x: max(bag_a.get(x, 0), bag_b.get(x, 0)) for x in every}
    assert multiset(minus(a, b)) == {x: n for x, n in bag_a.items() if x not in bag_b}
    assert counts(a, array(second)).tolist() == [bag_a.get(x, 0) for x in second]
    assert contains(a, array(second)).tolist() == [x in bag_a for x in second]
    for result in (intersect(a, b), union(a, b), minus(a, b)):
        assert result.tolist() == sorted(result.tolist())


@given(bags)
def test_self_algebra(pairs: list[tuple[int, int]]) -> None:
    a = subset_of(array(pairs))
    assert union(a, a).tolist() == intersect(a, a).tolist() == a.tolist()
    assert len(minus(a, a)) == 0


def test_sample_is_exact_nested_and_depends_on_the_seed() -> None:
    subset = subset_of(np.random.default_rng(0).integers(0, 2**64, (2000, 2), dtype=np.uint64).view(UID)[:, 0])
    few, many = sample(subset, 300), sample(subset, 900)
    assert len(few) == 300
    assert contains(many, few).all()
    assert sample(subset, 300, seed=1).tolist() != few.tolist()
    # A draw depends on a uid alone: among half of the pool the same uids rank first.
    half = subset[::2]
    assert contains(sample(half, 700), few[contains(half, few)]).all()
    with pytest.raises(UserError, match="cannot draw 2001 of 2000"):
        sample(subset, 2001)


def test_hash_is_uniform_and_spreads_close_uids() -> None:
    close = np.zeros(20_000, dtype=UID)
    close["f1"] = np.arange(20_000)
    for uids in (close, np.sort(close)[::-1]):
        top = (hash_uids(uids) >> np.uint64(60)).astype(int)
        histogram = np.bincount(top, minlength=16)
        # chi-square with 15 degrees of freedom: 99.99% quantile 44.3
        assert ((histogram - 1250) ** 2 / 1250).sum() < 44.3
    assert len(np.unique(hash_uids(close))) == 20_000
    assert not (hash_uids(close, 0) == hash_uids(close, 1)).any()
    assert hash_uids(close, -1).shape == (20_000,)


@settings(deadline=None)
@given(st.lists(bags, max_size=5), st.integers(0, 2**32))
def test_a_subset_saved_in_sorted_parts_is_the_file_of_the_whole(parts: list[list[tuple[int, int]]], seed: int) -> None:
    many = np.random.default_rng(seed).integers(0, 2**64, (200, 2), dtype=np.uint64).view(UID)[:, 0]
    arrays = [subset_of(array(part)) for part in parts] + [subset_of(many)] * 2
    file = io.BytesIO()
    assert save_subset(file, arrays) == sum(map(len, arrays))
    assert file.getvalue() == write_subset(subset_of(np.concatenate(arrays)))


def test_a_subset_saved_in_no_parts_is_empty() -> None:
    file = io.BytesIO()
    assert save_subset(file, []) == 0
    assert file.getvalue() == write_subset(np.zeros(0, UID))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0" * 17, "neither a .npy file nor rows of 16 bytes"),
        (b"\xff" * 16 + b"\0" * 16, "not sorted"),
    ],
)
def test_bad_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_subset(data, "mine.npy")


def test_wrong_dtype_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(4))
    with pytest.raises(UserError, match="dtype int64"):
        read_subset(buffer.getvalue())
    with pytest.raises(ValueError, match="sorted"):
        write_subset(array([(2, 0), (1, 0)]))


def test_empty_subset() -> None:
    empty = subset_of(np.empty(0, dtype=UID))
    assert len(read_subset(write_subset(empty))) == 0
    assert len(read_subset(b"")) == 0
    assert len(union(empty, empty)) == len(intersect(empty, empty)) == len(sample(empty, 0)) == 0
    assert not contains(empty, array([(1, 2)])).any()
