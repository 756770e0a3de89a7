import math
from typing import Any

import numpy as np

from filters.strategies.metaclip import MetaCLIP
from filters.strategy import Columns


def test_balancing_flattens_the_head_as_the_paper_has_it(columns: Any) -> None:
    """10,000 captions of one entry and 300 of another, limit t = 500: about 500 of the one remain, all of the other."""
    number = np.array([10_000] * 10_000 + [300] * 300)
    probability = np.minimum(1.0, 500 / number)
    keep = MetaCLIP().select(columns(10_300, metaclip__probability=probability, metaclip__matches=[1] * 10_300)).keep
    assert abs(keep[:10_000].sum() - 500) < 4 * math.sqrt(500 * 0.95)
    assert keep[10_000:].all()


def test_a_draw_is_one_of_the_uid_and_nested_in_probability(columns: Any) -> None:
    rng = np.random.default_rng(0)
    low, high = rng.random((2, 3000))
    low, high = np.minimum(low, high), np.maximum(low, high)
    ones = [1] * 3000
    few, many = (
        MetaCLIP().select(columns(3000, metaclip__probability=p, metaclip__matches=ones)).keep for p in (low, high)
    )
    assert not (few & ~many).any()
    assert abs(many.sum() - high.sum()) < 4 * math.sqrt((high * (1 - high)).sum())
    pool = columns(3000, metaclip__probability=high, metaclip__matches=ones)
    assert (MetaCLIP(seed=1).select(pool).keep != many).any()


def test_certain_rows_and_reasons(awkward: Columns) -> None:
    probability, matches = awkward["metaclip.probability"], awkward["metaclip.matches"]
    verdict = MetaCLIP().select(awkward)
    for row in range(200):
        if math.isnan(probability[row]):
            assert verdict.reason[row] == "metaclip.probability missing"
        elif matches[row] == 0:
            assert verdict.reason[row] == "no entry of the metadata matches"
        elif probability[row] in (0.0, 1.0):
            assert verdict.keep[row] == bool(probability[row])
        else:
            assert verdict.reason[row] in ("", "not drawn: its entries are common")
