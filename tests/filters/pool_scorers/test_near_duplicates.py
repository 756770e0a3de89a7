from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from filters.pool_scorers import near_duplicates
from filters.pool_scorers.near_duplicates import NearDuplicates
from filters.strategy import Columns
from filters.subset import hash_uids
from winnow.errors import UserError


def groups(near: Any) -> list[list[int]]:
    """Return the connected components of an (n, n) bool matrix, by walking from row to row."""
    left, out = set(range(len(near))), []
    while left:
        reached, edge = set(), {left.pop()}
        while edge:
            reached |= edge
            edge = {int(j) for i in edge for j in np.flatnonzero(near[i])} - reached
        left -= reached
        out.append(sorted(reached))
    return out


def check(found: Any, expected: list[list[int]], uids: Any) -> None:
    hashes = hash_uids(uids)
    for members in expected:
        assert set(found["size"][members]) == {len(members)}
        assert np.flatnonzero(found["first"][members]).tolist() == [int(np.argmin(hashes[members]))]


@pytest.mark.parametrize("distance", [0, 1, 2, 4, 7, 12, 20])
def test_hashes_within_a_distance_are_grouped_transitively(uids: Callable[[int], Any], distance: int) -> None:
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**64, 40, dtype=np.uint64)[rng.integers(0, 40, 400)]
    for _ in range(max(1, distance // 2)):  # a few bits of each flip
        hashes ^= np.where(rng.random(400) < 0.7, np.uint64(1) << rng.integers(0, 64, 400, dtype=np.uint64), 0).astype(
            np.uint64
        )
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= distance
    expected = groups(near)
    pool = Columns(uids(400), {"phash.hash": hashes})
    check(NearDuplicates(max_distance=distance).score(pool).columns, expected, pool.uids)
    assert 40 <= len(expected) < 400 or distance > 10


@pytest.mark.parametrize("similarity", [0.8, 0.95])
def test_embeddings_within_a_cosine_are_grouped(pool: Columns, unit: Callable[..., Any], similarity: float) -> None:
    x = unit(pool["clip.image_embedding"])
    expected = groups(x @ x.T >= similarity)
    found = NearDuplicates(by="clip.image_embedding", min_similarity=similarity).score(pool).columns
    check(found, expected, pool.uids)
    assert 1 < len(expected) < 300


def test_groups_do_not_depend_on_how_often_pairs_are_merged(pool: Columns, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = NearDuplicates(max_distance=2).score(pool).columns
    monkeypatch.setattr(near_duplicates, "EDGES_AT_ONCE", 3)
    monkeypatch.setattr(near_duplicates, "ROWS", 7)
    found = NearDuplicates(max_distance=2).score(pool).columns
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_another_kind_of_column_is_refused(pool: Columns) -> None:
    with pytest.raises(UserError, match="give hashes or embeddings"):
        NearDuplicates(by="meta.text").score(pool)
