from typing import Any

import pytest

from filters.strategies.all_of import AllOf
from filters.strategies.any_of import AnyOf
from filters.strategies.basic import Basic
from filters.strategies.clip_score import ClipScore
from filters.strategies.text_area import TextArea
from filters.strategies.vote import Vote
from filters.strategy import Columns
from winnow.component import build
from winnow.errors import UserError

PARTS = [Basic(), TextArea(), ClipScore(fraction=0.5)]


def test_against_counted_votes(awkward: Columns, kept: Any) -> None:
    sets = [set(kept(part, awkward)) for part in PARTS]
    for least in (1, 2, 3):
        expected = [row for row in range(200) if sum(row in each for each in sets) >= least]
        assert expected
        assert kept(Vote(of=PARTS, at_least=least), awkward) == expected
    assert kept(Vote(of=PARTS, at_least=1), awkward) == kept(AnyOf(of=PARTS), awkward)
    assert kept(Vote(of=PARTS, at_least=3), awkward) == kept(AllOf(of=PARTS), awkward)
    assert set(Vote(of=PARTS).select(awkward).reason) == {"", "kept by fewer than 2 of 3 strategies"}


def test_more_votes_than_voters_are_refused() -> None:
    with pytest.raises(UserError, match="`at_least` 2 exceeds the number of parts, 1"):
        build("filters.strategies", {"use": "vote", "of": [{"use": "no_filter"}]}, "mine")
