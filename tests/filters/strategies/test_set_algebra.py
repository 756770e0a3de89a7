"""Compositions against set algebra on what their parts keep."""

from typing import Any

import pytest

from filters.strategies.all_of import AllOf
from filters.strategies.any_of import AnyOf
from filters.strategies.basic import Basic
from filters.strategies.clip_score import ClipScore
from filters.strategies.difference import Difference
from filters.strategies.image_based import ImageBased
from filters.strategies.image_based_clip_score import ImageBasedClipScore
from filters.strategies.invert import Invert
from filters.strategies.top_fraction import TopFraction
from filters.strategy import Columns

A, B = Basic(), ClipScore(fraction=0.5)
L14 = ClipScore(score="clip_l14.similarity", fraction=0.3)


@pytest.mark.parametrize(
    ("strategy", "parts", "rule"),
    [
        pytest.param(AllOf(of=[A, B]), (A, B), lambda a, b: a & b, id="all_of"),
        pytest.param(AnyOf(of=[A, B]), (A, B), lambda a, b: a | b, id="any_of"),
        pytest.param(Difference(of=A, minus=B), (A, B), lambda a, b: a - b, id="difference"),
        pytest.param(Invert(of=B), (B, B), lambda b, _: set(range(200)) - b, id="invert"),
        pytest.param(TopFraction(of=A, fraction=1), (A, ClipScore(fraction=1)), lambda a, b: a & b, id="top_fraction"),
        pytest.param(ImageBasedClipScore(), (ImageBased(), L14), lambda a, b: a & b, id="image_based_clip_score"),
    ],
)
def test_against_sets(strategy: Any, parts: Any, rule: Any, awkward: Columns, kept: Any) -> None:
    expected = rule(*(set(kept(part, awkward)) for part in parts))
    assert 0 < len(expected) < 200
    assert set(kept(strategy, awkward)) == expected
