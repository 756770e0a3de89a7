import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.strategies.clip_score import ClipScore
from filters.strategies.tmars import TMARS
from filters.strategy import Columns
from winnow.component import build
from winnow.errors import UserError
from winnow.uid import UID

scores = st.floats(-0.1, 0.5) | st.just(math.nan) | st.sampled_from([0.2, 0.3])
pairs = st.lists(st.tuples(scores, scores), min_size=1, max_size=40)
fractions = st.sampled_from([0.01, 0.1, 0.3, 0.5, 1.0])


def pool(values: list[tuple[float, float]]) -> Columns:
    uids = np.random.default_rng(1).integers(0, 2**64, (len(values), 2), dtype=np.uint64).view(UID)[:, 0]
    unmasked, masked = np.array(values).T
    return Columns(uids, {"clip.similarity": unmasked, "masked_clip.similarity": masked})


@given(pairs, fractions)
def test_fraction_against_the_naive_rule(values: list[tuple[float, float]], fraction: float) -> None:
    ranked = sorted((unmasked for unmasked, _ in values if not math.isnan(unmasked)), reverse=True)
    num_kept = min(round(100 * fraction) * len(values) // 100, len(ranked))
    keep = TMARS(fraction=fraction).select(pool(values)).keep
    if num_kept == 0:
        assert not keep.any()
    else:
        assert keep.tolist() == [masked >= ranked[num_kept - 1] for _, masked in values]


@given(pairs, fractions)
def test_it_lies_within_clip_score_where_masking_raises_nothing(
    values: list[tuple[float, float]], fraction: float
) -> None:
    lowered = [(unmasked, min(unmasked, masked)) for unmasked, masked in values if unmasked == unmasked]
    if not lowered:
        return
    columns = pool(lowered)
    tmars, clip = TMARS(fraction=fraction).select(columns).keep, ClipScore(fraction=fraction).select(columns)
    ties = np.array(["ties" in reason for reason in clip.reason])
    assert not (tmars & ~clip.keep & ~ties).any()
    for threshold in (0.2, 0.281):
        within = ClipScore(threshold=threshold).select(columns).keep
        assert not (TMARS(threshold=threshold).select(columns).keep & ~within).any()


def test_pictures_without_text_are_judged_as_by_clip_score() -> None:
    distinct = np.random.default_rng(0).permutation(np.arange(100) / 100)
    columns = pool([(score, score) for score in distinct])
    np.testing.assert_array_equal(TMARS().select(columns).keep, ClipScore().select(columns).keep)


def test_threshold_and_reasons() -> None:
    columns = pool([(0.4, 0.281), (0.4, 0.2809), (0.4, math.nan), (math.nan, 0.3)])
    strategy = TMARS(threshold=0.281)
    assert strategy.needs() == ("masked_clip.similarity",)
    assert strategy.select(columns).reason.tolist() == [
        "",
        "masked_clip.similarity below 0.281",
        "masked_clip.similarity missing",
        "",
    ]
    reasons = TMARS(fraction=0.25).select(columns).reason
    assert reasons[0] == "masked_clip.similarity below 0.4 (top 25% of clip.similarity)"


def test_default_is_thirty_percent_and_only_one_rule_is_accepted() -> None:
    assert TMARS().fraction == 0.3
    assert TMARS(threshold=0.281).fraction is None
    with pytest.raises(UserError, match="either `fraction` or `threshold`"):
        build("filters.strategies", {"threshold": 0.2, "fraction": 0.3}, "tmars")


def test_float32_columns_are_cut_exactly(awkward: Columns, kept: Any) -> None:
    unmasked, masked = awkward["clip.similarity"], awkward["masked_clip.similarity"]
    cut = np.sort(unmasked[~np.isnan(unmasked)])[::-1][60 - 1]
    assert kept(TMARS(), awkward) == np.flatnonzero(masked >= cut).tolist()


def test_rows_that_a_gate_stopped_are_dropped_for_their_unmasked_score() -> None:
    columns = pool([(0.4, 0.41), (0.3, math.nan), (0.1, math.nan), (math.nan, math.nan), (0.3, 0.2)])
    assert TMARS(fraction=0.4).select(columns).reason.tolist() == [
        "",
        "masked_clip.similarity missing",  # it reached the cut: the gate was too high
        "clip.similarity, not masked, below 0.3 (top 40% of clip.similarity)",
        "masked_clip.similarity missing",
        "masked_clip.similarity below 0.3 (top 40% of clip.similarity)",
    ]
