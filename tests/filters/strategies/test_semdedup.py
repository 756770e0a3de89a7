from typing import Any

import numpy as np

from filters.strategies.semdedup import SemDeDup
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    similarity = awkward["semantic_duplicates.similarity"].tolist()
    expected = [row for row, value in enumerate(similarity) if not value > 1 - 0.05]
    assert 0 < len(expected) < 200
    assert kept(SemDeDup(), awkward) == expected


def test_boundary_in_the_precision_of_the_column_and_what_resembles_nothing() -> None:
    from filters.strategies.semdedup import SemDeDup
    from winnow.uid import UID

    values = np.array([0.95, np.nextafter(np.float32(0.95), np.float32(1)), -1, np.nan, 1.0], np.float32)
    verdict = SemDeDup().select(Columns(np.zeros(5, UID), {"semantic_duplicates.similarity": values}))
    assert verdict.keep.tolist() == [True, False, True, True, False]
    assert set(verdict.reason) == {"", "semantic_duplicates.similarity above 0.95"}
