"""The three stages against their rules written out."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters.strategies.basic import Basic
from filters.strategies.clip_score import ClipScore
from filters.strategies.devil import Devil
from filters.strategies.no_filter import NoFilter
from filters.strategies.semdedup import SemDeDup
from filters.strategy import Columns
from winnow.component import build, digest
from winnow.errors import UserError


def pool_of(columns: Any, n: int, **given: Any) -> Columns:
    """A pool without awkward rows, some columns of it given."""
    rng = np.random.default_rng(0)
    made = {
        "meta__text": ["a photo of a barn"] * n,
        "meta__original_width": [300] * n,
        "meta__original_height": [300] * n,
        "language__language": ["en"] * n,
        "clip_flipped__similarity": rng.permutation(n) / n,
        "semantic_duplicates__similarity": np.full(n, np.nan),
        "clusters__id": np.zeros(n, int),
    }
    pool: Columns = columns(n, **{**made, **given})
    return pool


def test_filters_come_one_after_the_other(awkward: Columns, reorder: Any) -> None:
    rows = np.arange(200)
    reasons = np.full(200, "", dtype=object)
    for part in (Basic(min_side=0), ClipScore(score="clip_flipped.similarity", fraction=0.5), SemDeDup()):
        verdict = part.select(reorder(awkward, rows))
        reasons[rows] = verdict.reason
        rows = rows[verdict.keep]
    strategy = Devil(rules=Basic(min_side=0))
    mine = strategy.select(awkward)
    drawn = "not drawn: its cluster, score and caption weigh little"
    assert len(rows) > 3
    assert set(mine.reason[rows]) <= {"", drawn}
    dropped = np.setdiff1d(np.arange(200), rows)
    np.testing.assert_array_equal(mine.reason[dropped], reasons[dropped])
    no_cluster = rows[np.isnan(awkward["clusters.id"][rows])]
    assert not mine.keep[no_cluster].any()


def test_counts_follow_the_weights(columns: Any, tmp_path: Path) -> None:
    """Target shares, quality and digits: every one alone, then all of them."""
    n = 6000
    cluster = np.repeat([0, 1, 2], [3000, 2000, 1000])
    digit = np.arange(n) % 4 == 0
    texts = ["a photo of 7 barns" if yes else "a photo of a barn" for yes in digit]
    np.save(tmp_path / "target.npy", np.array([1, 1, 2, 9]))
    pool = pool_of(columns, n, clusters__id=cluster, meta__text=texts)
    rank = (np.argsort(np.argsort(pool["clip_flipped.similarity"])) + 0.5) / n
    plain: dict[str, Any] = {"rules": NoFilter(), "fraction": 1.0, "quality": 0.0, "digit_boost": 1.0}
    cases = [
        ({}, (1 / np.array([3000, 2000, 1000]))[cluster]),
        ({"target": str(tmp_path / "target.npy")}, (np.array([1, 1, 2]) / [3000, 2000, 1000])[cluster]),
        ({"quality": 1.0}, (1 / np.array([3000, 2000, 1000]))[cluster] * 2 * rank),
        ({"digit_boost": 3.0}, (1 / np.array([3000, 2000, 1000]))[cluster] * np.where(digit, 3, 1)),
        ({"size": 0.5, "quality": 0.5}, (1 / np.array([3000, 2000, 1000]))[cluster] * (0.5 + rank)),
    ]
    for fields, weight in cases:
        strategy = Devil(**{**plain, **fields})
        count = strategy.select(pool).count
        expected = strategy.size * n * weight / weight.sum()
        assert (np.abs(count - expected) < 1 + 1e-9).all(), fields
        spread = math.sqrt(n * 0.25)
        assert abs(count.sum() - expected.sum()) < 4 * spread
        for part in (digit, ~digit, cluster == 0, cluster == 2, rank > 0.5):
            assert abs(count[part].sum() - expected[part].sum()) < 4 * spread, fields


def test_repeats_are_limited(columns: Any) -> None:
    cluster = [0] * 990 + list(range(1, 11))
    strategy = Devil(rules=NoFilter(), fraction=1.0, quality=0.0, max_repeats=5)
    count = strategy.select(pool_of(columns, 1000, clusters__id=cluster)).count
    assert count[990:].tolist() == [5] * 10
    assert abs(int(count.sum()) - 1000) < 70


def test_the_target_is_a_file_of_counts(columns: Any, tmp_path: Path) -> None:
    pool, file = pool_of(columns, 50, clusters__id=[3] * 50), tmp_path / "target.npy"
    np.save(file, np.ones(3))
    strategy = Devil(rules=NoFilter(), fraction=1.0, target=str(file))
    with pytest.raises(UserError, match=r"has 3 clusters, but clusters\.id goes to 3"):
        strategy.select(pool)
    before = digest(strategy)
    np.save(file, np.array([0.0, 0, 0, 1]))
    assert digest(strategy) != before
    assert strategy.select(pool).count.sum() > 30
    np.save(file, np.array([1.0, 1, 1, 0]))
    assert strategy.select(pool).count.sum() == 0
    for bad in (np.ones((2, 2)), np.array([-1.0]), np.array(["a"]), np.array([np.nan])):
        np.save(file, bad)
        with pytest.raises(UserError, match="must hold"):
            strategy.select(pool)
    file.write_text("no array")
    with pytest.raises(UserError, match=r"no \.npy file"):
        strategy.select(pool)
    with pytest.raises(UserError, match="no file"):
        build("filters.strategies", {"use": "devil", "target": str(tmp_path / "none.npy")}, "mine")
