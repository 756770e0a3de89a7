from typing import Any

from filters.strategies.near_duplicates import NearDuplicates
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    first = awkward["near_duplicates.first"]
    assert kept(NearDuplicates(), awkward) == [row for row in range(200) if first[row] is True]


def test_reasons(columns: Any) -> None:
    verdict = NearDuplicates().select(columns(3, near_duplicates__first=[True, False, None]))
    assert verdict.reason.tolist() == ["", "near-duplicate of a sample that is kept", "near_duplicates.first missing"]
