from typing import Any

from filters.strategies.placeholders import Placeholders
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    count = awkward["hash_multiplicity.count"]
    assert kept(Placeholders(), awkward) == [row for row in range(200) if count[row] < 3]


def test_reasons(columns: Any) -> None:
    verdict = Placeholders(min_count=10).select(columns(4, hash_multiplicity__count=[1, 9, 10, None]))
    assert verdict.reason.tolist() == ["", "", "10 samples or more have this file", "hash_multiplicity.count missing"]
