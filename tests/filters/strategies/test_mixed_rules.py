from typing import Any

from filters.strategies.basic import Basic
from filters.strategies.clip_score import ClipScore
from filters.strategies.mixed_rules import MixedRules
from filters.strategies.text_area import TextArea
from filters.strategy import Columns
from winnow.component import build


def test_it_is_the_intersection_of_its_rules(awkward: Columns, kept: Any) -> None:
    parts = [set(kept(rule, awkward)) for rule in (Basic(), TextArea(), ClipScore(fraction=0.5))]
    both = set.intersection(*parts)
    assert both
    assert all(both < part for part in parts)
    assert kept(MixedRules(), awkward) == sorted(both)


def test_its_rules_can_be_replaced(awkward: Columns, kept: Any) -> None:
    mine = build("filters.strategies", {"use": "mixed_rules", "of": [{"use": "clip_score"}]}, "mine")
    assert kept(mine, awkward) == kept(ClipScore(), awkward)
