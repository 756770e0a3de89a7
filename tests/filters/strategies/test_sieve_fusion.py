from typing import Any

import numpy as np

from filters.strategies.sieve_fusion import SieveFusion
from filters.strategy import Columns


def fused(columns: Columns) -> np.ndarray:
    """Min-max normalise both over the pool, then add halves."""
    total = np.zeros(columns.num_samples)
    for name in ("caption_similarity.similarity", "clip.similarity"):
        x = columns[name].astype(np.float64)
        total += 0.5 * (x - np.nanmin(x)) / (np.nanmax(x) - np.nanmin(x))
    return total


def test_sieves_own_rule(awkward: Columns, kept: Any) -> None:
    score = fused(awkward)
    threshold = -np.sort(-score)[int(200 * 0.2)]
    assert kept(SieveFusion(compat=True), awkward) == np.flatnonzero(score >= threshold).tolist()
    keep = SieveFusion().select(awkward).keep
    assert keep.sum() == 40
    assert score[keep].min() >= np.nanmax(score[~keep])


def test_weight_runs_from_one_score_to_the_other(columns: Any, kept: Any) -> None:
    pool = columns(4, caption_similarity__similarity=[0.9, 0.6, 0.1, 0.2], clip__similarity=[0.1, 0.2, 0.3, np.nan])
    assert kept(SieveFusion(weight=1.0, fraction=0.25), pool) == [0]
    assert kept(SieveFusion(weight=0.0, fraction=0.25), pool) == [2]
    # 0.5 * (0.8, 0.5, -0.1 .. ) on one scale: row 0 has 0.5, row 1 has 0.3125 + 0.25, row 2 has 0.5
    assert kept(SieveFusion(fraction=0.25), pool) == [1]
    assert SieveFusion().select(pool).reason[3] == "fusion of caption_similarity.similarity and clip.similarity missing"
