"""Composition against sets of rows, and how a config nests and names strategies."""

from typing import Any

import numpy as np
import pytest

from filters.choosing.compose import build_strategies, describe, needs_of
from filters.strategies.all_of import AllOf
from filters.strategies.any_of import AnyOf
from filters.strategies.clip_score import ClipScore
from filters.strategies.difference import Difference
from filters.strategies.invert import Invert
from filters.strategies.no_filter import NoFilter
from filters.strategies.text_area import TextArea
from filters.strategies.top_fraction import TopFraction
from filters.strategy import Columns, Strategy, Verdict
from filters.subset import intersect, minus, subset_of, union
from winnow.component import digest
from winnow.errors import UserError
from winnow.uid import UID


class Twice(Strategy):
    """Keep samples 0, 1, 2 of every five, as often as that."""

    def judge(self, columns: Columns) -> Verdict:
        count = (columns.uids["f1"] % 5).astype(np.uint16)
        count[count > 2] = 0
        return Verdict.of_counts(count, "not twice")


@pytest.fixture
def pool() -> Columns:
    rng = np.random.default_rng(3)
    uids = np.zeros(120, dtype=UID)
    uids["f0"], uids["f1"] = rng.integers(0, 2**64, 120, dtype=np.uint64), np.arange(120)
    score = rng.integers(0, 12, 120) / 12
    score[rng.random(120) < 0.1] = np.nan
    return Columns(uids, {"clip.similarity": score, "text_boxes.area_share": rng.random(120)})


CLIP, AREA = ClipScore(fraction=0.5), TextArea(threshold=0.6)


def kept(strategy: Strategy, pool: Columns) -> set[int]:
    verdict = strategy.select(pool)
    assert ((verdict.reason == "") == verdict.keep).all()
    assert verdict.count.dtype == np.uint16
    assert verdict.reason.dtype == object
    return set(np.flatnonzero(verdict.keep).tolist())


def test_set_algebra(pool: Columns) -> None:
    a, b, every = kept(CLIP, pool), kept(AREA, pool), set(range(120))
    assert a - b
    assert b - a
    assert kept(AllOf(of=[CLIP, AREA]), pool) == a & b
    assert kept(AnyOf(of=[CLIP, AREA]), pool) == a | b
    assert kept(Invert(of=CLIP), pool) == every - a
    assert kept(Difference(of=CLIP, minus=AREA), pool) == a - b
    assert kept(Invert(of=Invert(of=CLIP)), pool) == a
    assert kept(AllOf(of=[CLIP]), pool) == kept(AnyOf(of=[CLIP]), pool) == a
    assert kept(AllOf(of=[Invert(of=CLIP), Invert(of=AREA)]), pool) == kept(Invert(of=AnyOf(of=[CLIP, AREA])), pool)


def test_composition_equals_the_algebra_of_subset_files(pool: Columns) -> None:
    def subset(strategy: Strategy) -> np.ndarray:
        return subset_of(pool.uids, strategy.select(pool).count)

    a, b = subset(Twice()), subset(CLIP)
    assert subset(AllOf(of=[Twice(), CLIP])).tolist() == intersect(a, b).tolist()
    assert subset(AnyOf(of=[Twice(), CLIP])).tolist() == union(a, b).tolist()
    assert subset(Difference(of=Twice(), minus=CLIP)).tolist() == minus(a, b).tolist()


def test_reasons(pool: Columns) -> None:
    clip, area = CLIP.select(pool).reason, AREA.select(pool).reason
    both = AllOf(of=[CLIP, AREA]).select(pool).reason
    assert both.tolist() == [first or then for first, then in zip(clip, area, strict=True)]
    neither = AnyOf(of=[CLIP, AREA]).select(pool).reason
    expected = [f"{first}; {then}" if first and then else "" for first, then in zip(clip, area, strict=True)]
    assert neither.tolist() == expected
    assert set(Invert(of=CLIP).select(pool).reason) == {"", "kept by clip_score"}
    difference = set(Difference(of=CLIP, minus=AREA).select(pool).reason)
    assert "kept by text_area" in difference
    assert difference - {"kept by text_area"} == set(clip)


def test_top_fraction_against_a_plain_sort(pool: Columns) -> None:
    score = pool["clip.similarity"]
    inside = sorted(kept(AREA, pool))
    for fraction in (0.01, 0.3, 0.5, 1.0):
        rows = kept(TopFraction(of=AREA, fraction=fraction), pool)
        present = [row for row in inside if not np.isnan(score[row])]
        assert len(rows) == min(len(present), int(len(inside) * fraction + 1e-9))
        assert rows <= set(present)
        dropped = set(present) - rows
        assert not rows or not dropped or min(score[list(rows)]) >= max(score[list(dropped)])
    outside = TopFraction(of=AREA).select(pool).reason[[row for row in range(120) if row not in inside]]
    assert set(outside) == {"text covers 60% or more of the picture"}
    assert kept(TopFraction(of=NoFilter(), fraction=0.5), pool) == kept(CLIP, pool)
    repeated = TopFraction(of=Twice(), fraction=0.5).select(pool).count
    assert set(repeated) == {0, 1, 2}


def test_needs_are_joined_once() -> None:
    assert needs_of([CLIP, AREA, CLIP]) == ("clip.similarity", "text_boxes.area_share")
    both = ("clip.similarity", "text_boxes.area_share")
    assert AllOf(of=[CLIP, AREA]).needs() == AnyOf(of=[CLIP, AREA]).needs() == both
    assert Difference(of=CLIP, minus=AREA).needs() == TopFraction(of=AREA).needs()[::-1]


def test_names_refer_to_configured_strategies(pool: Columns) -> None:
    specs: dict[str, Any] = {
        "both": {"use": "all_of", "of": ["mine", {"use": "text_area", "threshold": 0.6}]},
        "mine": {"use": "clip_score", "fraction": 0.5},
        "rest": {"use": "invert", "of": "both"},
    }
    built = build_strategies(specs)
    assert list(built) == ["both", "mine", "rest"]
    assert built["both"] == AllOf(of=[CLIP, AREA])
    assert kept(built["rest"], pool) == set(range(120)) - kept(built["both"], pool)
    assert describe(built["rest"])["of"]["of"][0] == describe(built["mine"])


def test_a_change_of_what_is_referred_to_changes_the_digest() -> None:
    def key(fraction: float, use: str = "all_of") -> str:
        mine = {"use": "clip_score", "fraction": fraction}
        return digest(build_strategies({"both": {"use": use, "of": ["mine"]}, "mine": mine})["both"])

    assert key(0.3) == key(0.3)
    assert len({key(0.3), key(0.4), key(0.3, "any_of")}) == 3
    assert digest(Invert(of=NoFilter())) != digest(Invert(of=Twice()))


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ({"a": {"use": "invert", "of": "b"}, "b": {"use": "invert", "of": "a"}}, "circle: a -> b -> a"),
        ({"a": {"use": "invert", "of": "a"}}, "circle: a -> a"),
        ({"a": {"use": "invert", "of": "tmrs"}, "tmars": {}}, r"`select\.strategies\.a\.of`.*Did you mean 'tmars'"),
        ({"a": {"use": "all_of", "of": []}}, "at least 1 item"),
        ({"a": {"use": "all_of", "of": [{"fraction": 0.3}]}}, r"strategies\.a\.of\.0`.*needs `use: <strategy>`"),
        ({"a": {"use": "all_of", "of": [{"use": "basic", "min_sides": 3}]}}, "Did you mean 'min_side'"),
        ({"a": {"use": "all_of", "of": [7]}}, "Strategy"),
        ({"clip_scores": {}}, "Did you mean 'clip_score'"),
        ({"no_filter": None}, r"`select\.strategies\.no_filter` must be a mapping"),
    ],
)
def test_mistakes_are_explained(specs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_strategies(specs)
