from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from filters.strategies.clip_score import ClipScore
from filters.strategies.score_mix import ScoreMix
from filters.strategies.sieve_fusion import SieveFusion
from filters.strategy import Columns
from winnow.component import build
from winnow.errors import UserError

WEIGHTS = {"neg_clip_loss.score": 1.0, "norm_sim.score": 0.5, "dfn.similarity": -0.25}


def naive(x: np.ndarray, how: str) -> np.ndarray:
    x = x.astype(np.float64)
    if how == "minmax":
        return (x - np.nanmin(x)) / (np.nanmax(x) - np.nanmin(x))
    if how == "zscore":
        return (x - np.nanmean(x)) / np.nanstd(x)
    if how == "rank":
        out = np.full(len(x), np.nan)
        known = ~np.isnan(x)
        out[known] = (rankdata(x[known]) - 0.5) / known.sum()
        return out
    return x


@pytest.mark.parametrize("how", ["none", "minmax", "zscore", "rank"])
def test_against_the_naive_sum(awkward: Columns, how: Any) -> None:
    total = sum(weight * naive(awkward[name], how) for name, weight in WEIGHTS.items())
    keep = ScoreMix(weights=WEIGHTS, normalise=how, fraction=0.3).select(awkward).keep
    assert keep.sum() == 60
    assert not np.isnan(total[keep]).any()
    assert total[keep].min() >= np.nanmax(total[~keep]) - 1e-12


def test_special_cases(awkward: Columns, kept: Any) -> None:
    assert kept(ScoreMix(), awkward) == kept(ClipScore(), awkward)
    halves = {"caption_similarity.similarity": 0.5, "clip.similarity": 0.5}
    fusion = ScoreMix(weights=halves, normalise="minmax", fraction=0.2)
    assert kept(fusion, awkward) == kept(SieveFusion(), awkward)


def test_the_order_of_the_weights_is_no_matter(awkward: Columns) -> None:
    turned = dict(reversed(WEIGHTS.items()))
    first, again = (ScoreMix(weights=weights).select(awkward) for weights in (WEIGHTS, turned))
    np.testing.assert_array_equal(first.count, again.count)


def test_mistakes_and_reasons(awkward: Columns) -> None:
    assert "mix of 3 scores missing" in set(ScoreMix(weights=WEIGHTS).select(awkward).reason)
    with pytest.raises(UserError, match="weights"):
        build("filters.strategies", {"use": "score_mix", "weights": {}}, "mine")
    with pytest.raises(UserError, match="normalise"):
        build("filters.strategies", {"use": "score_mix", "normalise": "softmax"}, "mine")
