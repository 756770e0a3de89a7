"""Soft cap sampling against FLYT's loop with NumPy's own sampling without replacement."""

from typing import Any

import numpy as np
import pytest

from filters.strategies.clip_score import ClipScore
from filters.strategies.no_filter import NoFilter
from filters.strategies.score_mix import ScoreMix
from filters.strategies.soft_cap import SoftCap
from filters.strategy import Columns
from winnow.component import build
from winnow.errors import UserError


def flyt(logits: np.ndarray, total: int, batch: int, penalty: float, rng: np.random.Generator) -> np.ndarray:
    """Draw batches without replacement by softmax, lowering the logits of what was drawn."""
    logits, count = logits.copy(), np.zeros(len(logits))
    while count.sum() < total:
        chance = np.exp(logits - logits.max())
        drawn = rng.choice(len(logits), batch, replace=False, p=chance / chance.sum())
        count[drawn] += 1
        logits[drawn] -= penalty
    return count


def test_counts_have_the_distribution_of_flyts_loop(columns: Any) -> None:
    """Two groups of 40 that differ by 2 logits, 300 draws in batches of 10, a seed each time."""
    score = np.repeat([0.0, 2.0], 40)
    pool = columns(80, clip__similarity=score)
    rng = np.random.default_rng(0)
    theirs, mine = [], []
    for seed in range(30):
        theirs.append(flyt(score, 300, 10, 0.15, rng)[40:].sum())
        strategy = SoftCap(of=ClipScore(), penalty=0.15, size=300 / 80, rounds=30, seed=seed)
        count = strategy.select(pool).count
        assert count.sum() == 300
        assert count.max() <= 30
        mine.append(count[40:].sum())
    # without a cap it would be 264 of 300, without a score 150; means of 30 have a standard error of about 1
    assert 200 < np.mean(theirs) < 260
    assert abs(np.mean(mine) - np.mean(theirs)) < 5


def test_the_first_batch_is_a_draw_without_replacement_by_softmax(columns: Any) -> None:
    """With one draw a seed, the share of each sample is its softmax probability."""
    score = np.log([1.0, 2, 3, 4])
    pool = columns(4, clip__similarity=score)
    total = sum(SoftCap(of=ClipScore(), size=0.25, rounds=1, seed=seed).select(pool).count for seed in range(2000))
    assert isinstance(total, np.ndarray)
    np.testing.assert_allclose(total / 2000, [0.1, 0.2, 0.3, 0.4], atol=0.04)  # 4 standard deviations


def test_the_sum_is_exact_and_the_cap_is_soft(awkward: Columns) -> None:
    for size, rounds in ((1.0, 7), (0.3, 1000), (3.0, 64)):
        strategy = SoftCap(of=ClipScore(), scale=100, size=size, rounds=rounds)
        count = strategy.select(awkward).count
        assert count.sum() == int(200 * size)
        assert not count[np.isnan(awkward["clip.similarity"])].any()
    free = SoftCap(of=ClipScore(), scale=100, penalty=0, rounds=200).select(awkward).count
    capped = SoftCap(of=ClipScore(), scale=100, penalty=1.0, rounds=200).select(awkward).count
    assert capped.max() < free.max()
    assert (capped > 0).sum() > (free > 0).sum()


def test_more_than_there_is_in_a_round(columns: Any) -> None:
    """A batch cannot hold a sample twice: with two samples and batches of ten, each round draws both."""
    pool = columns(3, clip__similarity=[0.3, 0.1, np.nan])
    assert SoftCap(of=ClipScore(), size=10, rounds=3).select(pool).count.tolist() == [3, 3, 0]


def test_any_score_will_do_and_no_other_strategy(awkward: Columns) -> None:
    mix = SoftCap(of=ScoreMix(weights={"dfn.similarity": 1.0}), rounds=20)
    assert mix.needs() == ("dfn.similarity",)
    assert mix.select(awkward).count.sum() == 200
    with pytest.raises(UserError, match="ranks by a score"):
        build("filters.strategies", {"use": "soft_cap", "of": {"use": "no_filter"}}, "mine")
    with pytest.raises(ValueError, match="ranks by a score"):
        SoftCap(of=NoFilter())
