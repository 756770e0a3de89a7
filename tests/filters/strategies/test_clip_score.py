import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.strategies.clip_score import ClipScore
from filters.strategy import Columns
from winnow.component import build
from winnow.errors import UserError
from winnow.uid import UID

few_scores = st.sampled_from([0.1, 0.2, 0.25, 0.3, math.nan])  # ties and missing values are the rule
pools = st.lists(few_scores, min_size=1, max_size=40)
fractions = st.sampled_from([0.01, 0.1, 0.29, 0.3, 0.5, 0.75, 0.99, 1.0])


def pool(scores: list[float], dtype: Any = np.float64) -> Columns:
    uids = np.random.default_rng(1).integers(0, 2**64, (len(scores), 2), dtype=np.uint64).view(UID)[:, 0]
    return Columns(uids, {"clip.similarity": np.array(scores, dtype=dtype)})


@given(pools, fractions)
def test_fraction_keeps_exactly_n_and_never_a_lower_score_than_it_drops(scores: list[float], fraction: float) -> None:
    keep = ClipScore(fraction=fraction).select(pool(scores)).keep
    present = [score for score in scores if not math.isnan(score)]
    # a fraction such as 0.29 is a decimal here: floor(29 * n / 100)
    assert keep.sum() == min(len(present), round(100 * fraction) * len(scores) // 100)
    kept = [score for score, yes in zip(scores, keep, strict=True) if yes]
    dropped = [score for score, yes in zip(scores, keep, strict=True) if not yes and not math.isnan(score)]
    assert not any(math.isnan(score) for score in kept)
    assert not kept or not dropped or min(kept) >= max(dropped)


@given(pools, st.sampled_from([0.01, 0.1, 0.29, 0.3, 0.5, 0.75, 0.99]))
def test_compat_is_datacomps_rule(scores: list[float], fraction: float) -> None:
    # apply_filter.py: n = int(len(x) * fraction); threshold = -np.sort(-x)[n]; keep x >= threshold
    x = np.array(scores)
    n = int(len(x) * fraction)
    threshold = -np.sort(-x)[n]
    keep = ClipScore(fraction=fraction, compat=True).select(pool(scores)).keep
    np.testing.assert_array_equal(keep, x >= threshold)


def test_compat_keeps_one_more_and_all_ties() -> None:
    assert ClipScore(fraction=0.3, compat=True).select(pool(list(np.arange(100) / 100))).keep.sum() == 31
    assert ClipScore(fraction=0.3).select(pool(list(np.arange(100) / 100))).keep.sum() == 30
    assert ClipScore(fraction=0.3, compat=True).select(pool([0.2] * 100)).keep.sum() == 100
    assert ClipScore(fraction=0.3).select(pool([0.2] * 100)).keep.sum() == 30


def test_compat_with_fraction_one_keeps_every_score_where_datacomp_overruns_its_array() -> None:
    scores = [0.1, math.nan, 0.3]
    with pytest.raises(IndexError):
        np.sort(-np.array(scores))[int(3 * 1.0)]
    assert ClipScore(fraction=1.0, compat=True).select(pool(scores)).keep.tolist() == [True, False, True]


def test_threshold_is_inclusive_in_the_precision_of_the_column() -> None:
    scores = [0.2799999, 0.28, 0.281, math.nan]
    for dtype in (np.float32, np.float64):
        assert ClipScore(threshold=0.281).select(pool(scores, dtype)).keep.tolist() == [False, False, True, False]
        assert ClipScore(threshold=0.28).select(pool(scores, dtype)).keep.tolist() == [False, True, True, False]
    assert float(np.float32(0.281)) < 0.281  # the trap: as float64 the stored score would miss its own threshold


def test_none_is_missing() -> None:
    verdict = ClipScore(fraction=1.0).select(pool([0.2, None, 0.1], object))  # type: ignore[list-item]
    assert verdict.keep.tolist() == [True, False, True]
    assert verdict.reason[1] == "clip.similarity missing"


def test_reasons_name_column_cut_and_rule() -> None:
    scores = [0.5, 0.4, 0.3, 0.3, 0.3, 0.2, 0.1, math.nan, 0.0, -0.1]
    verdict = ClipScore(fraction=0.3).select(pool(scores))
    assert sorted(set(verdict.reason)) == [
        "",
        "clip.similarity below 0.3 (top 30%)",
        "clip.similarity missing",
        "clip.similarity ties with the cut 0.3 (top 30%)",
    ]
    assert verdict.keep.sum() == 3
    assert set(ClipScore(threshold=0.25).select(pool(scores)).reason) >= {"clip.similarity below 0.25"}
    compat = ClipScore(fraction=0.3, compat=True).select(pool(scores))
    assert "clip.similarity below 0.3 (top 30%, DataComp's rule)" in set(compat.reason)


def test_the_fraction_threshold_table_of_datacomp_reproduces() -> None:
    """Scores drawn so that their quantiles are the published ones must be cut at the published thresholds."""
    shares = [0.01, 0.03, 0.10, 0.20, 0.30, 0.40, 0.50, 0.75, 0.90]
    published = [0.384, 0.358, 0.325, 0.300, 0.281, 0.263, 0.247, 0.215, 0.193]
    ranks = np.random.default_rng(0).permutation(np.arange(20_000) / 20_000)
    scores = np.interp(ranks, shares, published)
    for share, threshold in zip(shares, published, strict=True):
        for compat in (False, True):
            keep = ClipScore(fraction=share, compat=compat).select(pool(list(scores))).keep
            assert scores[keep].min() == pytest.approx(threshold, abs=0.002)


def test_one_rule_at_a_time() -> None:
    assert ClipScore() == ClipScore(fraction=0.3)
    with pytest.raises(UserError, match="key `mine`: give either `fraction` or `threshold`"):
        build("filters.strategies", {"use": "clip_score", "fraction": 0.3, "threshold": 0.2}, "mine")
    for bad in (0, -0.1, 1.1, math.nan):
        with pytest.raises(UserError, match="fraction"):
            build("filters.strategies", {"use": "clip_score", "fraction": bad}, "mine")
