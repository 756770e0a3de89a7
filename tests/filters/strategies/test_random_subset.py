from typing import Any

import numpy as np
import pytest

from filters.choosing.compose import build_strategies
from filters.strategies.clip_score import ClipScore
from filters.strategies.random_subset import RandomSubset
from filters.strategy import Columns
from filters.subset import contains, hash_uids, sample, subset_of
from winnow.component import build
from winnow.errors import UserError


def test_exact_count_against_a_plain_sort(columns: Any, kept: Any) -> None:
    pool = columns(997)
    for fraction in (0.0, 0.001, 0.29, 0.5, 1.0):
        rows = sorted(range(997), key=lambda row: hash_uids(pool.uids, 5)[row])
        assert kept(RandomSubset(fraction=fraction, seed=5), pool) == sorted(rows[: int(997 * fraction)])


def test_smaller_lies_within_larger_and_seeds_differ(columns: Any) -> None:
    pool = columns(2000)
    small, large = (RandomSubset(fraction=f).select(pool).keep for f in (0.1, 0.4))
    assert not (small & ~large).any()
    other = RandomSubset(fraction=0.4, seed=1).select(pool).keep
    # two independent draws of 800 of 2000 share 320 in the mean, standard deviation 14
    assert 250 < (large & other).sum() < 390


def test_it_is_the_draw_of_the_subset_algebra(columns: Any) -> None:
    pool = columns(300)
    keep = RandomSubset(fraction=0.5, seed=3).select(pool).keep
    np.testing.assert_array_equal(keep, contains(sample(subset_of(pool.uids), 150, seed=3), pool.uids))


def test_it_does_not_follow_a_score(columns: Any) -> None:
    pool = columns(4000, clip__similarity=np.arange(4000) / 4000)
    keep = RandomSubset(fraction=0.5).select(pool).keep
    assert abs(pool["clip.similarity"][keep].mean() - 0.5) < 0.02  # 3.1 standard deviations


def test_same_size_as_another_strategy(awkward: Columns) -> None:
    strategies = build_strategies(
        {
            "tmars": {"fraction": 0.4},
            "random_tmars": {"use": "random_subset", "same_size_as": "tmars"},
            "random_nested": {"use": "random_subset", "same_size_as": {"use": "clip_score", "threshold": 0.29}},
        }
    )
    wanted = strategies["tmars"].select(awkward).keep.sum()
    verdict = strategies["random_tmars"].select(awkward)
    assert verdict.keep.sum() == wanted > 0
    assert set(verdict.reason) == {"", "not drawn"}
    assert strategies["random_tmars"].needs() == strategies["tmars"].needs()
    nested = ClipScore(threshold=0.29).select(awkward).keep.sum()
    assert strategies["random_nested"].select(awkward).keep.sum() == nested


@pytest.mark.parametrize("fields", [{}, {"fraction": 0.5, "same_size_as": {"use": "no_filter"}}])
def test_one_size_at_a_time(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="either `fraction` or `same_size_as`"):
        build("filters.strategies", fields, "random_subset")
