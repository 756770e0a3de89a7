from typing import Any

import numpy as np

from filters.strategies.leak_removal import LeakRemoval
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    score = awkward["target_similarity.score"]
    expected = [row for row in range(200) if score[row] <= 0.604169]
    assert 0 < len(expected) < 200
    assert kept(LeakRemoval(), awkward) == expected


def test_boundary_and_reasons(columns: Any) -> None:
    pool = columns(3, target_similarity__score=[0.96, np.nextafter(0.96, 1), np.nan])
    verdict = LeakRemoval(threshold=0.96).select(pool)
    assert verdict.reason.tolist() == ["", "target_similarity.score above 0.96", "target_similarity.score missing"]
