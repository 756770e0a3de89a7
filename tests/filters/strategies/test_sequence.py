from typing import Any

import numpy as np

from filters.choosing.compose import build_strategies
from filters.strategies.basic import Basic
from filters.strategies.clip_score import ClipScore
from filters.strategies.random_subset import RandomSubset
from filters.strategies.sequence import Sequence
from filters.strategies.top_fraction import TopFraction
from filters.strategy import Columns


def test_each_looks_at_what_is_left(awkward: Columns, kept: Any, reorder: Any) -> None:
    parts = [RandomSubset(fraction=0.6), ClipScore(fraction=0.5), Basic(min_side=0)]
    rows = np.arange(200)
    reasons = np.full(200, "", dtype=object)
    for part in parts:
        verdict = part.select(reorder(awkward, rows))
        reasons[rows] = verdict.reason
        rows = rows[verdict.keep]
    assert 0 < len(rows) < 60
    assert kept(Sequence(of=parts), awkward) == rows.tolist()
    np.testing.assert_array_equal(Sequence(of=parts).select(awkward).reason, reasons)


def test_with_a_score_at_the_end_it_is_top_fraction(awkward: Columns, kept: Any) -> None:
    then = Sequence(of=[Basic(), ClipScore(fraction=0.3)])
    assert kept(then, awkward) == kept(TopFraction(of=Basic(), fraction=0.3), awkward)
    assert kept(Sequence(of=[Basic()]), awkward) == kept(Basic(), awkward)


def test_density_based_pruning_as_its_paper_applies_it(awkward: Columns) -> None:
    specs = {
        "pruned": {"use": "sequence", "of": [{"use": "clip_score", "fraction": 0.8}, {"use": "semdedup"}, "dbp"]},
        "dbp": {"fraction": 0.5},
    }
    strategy = build_strategies(specs)["pruned"]
    left = Sequence(of=[ClipScore(fraction=0.8), build_strategies({"semdedup": {}})["semdedup"]]).select(awkward).keep
    known = ~np.isnan(awkward["prototypes.cluster"]) & ~np.isnan(awkward["prototypes.similarity"])
    assert strategy.select(awkward).keep.sum() == min(left.sum() // 2, (left & known).sum())
