from typing import Any

import pytest

from filters.strategies.aesthetics import Aesthetics
from filters.strategy import Columns

NAMES = ("aesthetic.score", "watermark.score", "nsfw.score")


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    rows = zip(*(awkward[name].tolist() for name in NAMES), strict=True)
    expected = [row for row, (a, w, n) in enumerate(rows) if a > 5 and w < 0.8 and n < 0.5]
    assert 0 < len(expected) < 100
    assert kept(Aesthetics(), awkward) == expected


@pytest.mark.parametrize("off", range(3))
def test_each_limit_can_be_turned_off(awkward: Columns, kept: Any, off: int) -> None:
    fields = ("min_aesthetic", "max_watermark", "max_nsfw")
    strategy = Aesthetics(**{fields[off]: None})
    assert set(strategy.needs()) == set(NAMES) - {NAMES[off]}
    rules = [lambda a: a > 5, lambda w: w < 0.8, lambda n: n < 0.5]
    expected = [
        row
        for row in range(200)
        if all(rule(awkward[name][row]) for i, (name, rule) in enumerate(zip(NAMES, rules, strict=True)) if i != off)
    ]
    assert kept(strategy, awkward) == expected


def test_reasons(columns: Any) -> None:
    pool = columns(
        5,
        aesthetic__score=[5.0, 5.1, 5.1, 5.1, 5.1],
        watermark__score=[0.1, 0.8, 0.79, 0.1, None],
        nsfw__score=[0.1, 0.1, 0.5, 0.49, 0.1],
    )
    assert Aesthetics().select(pool).reason.tolist() == [
        "aesthetic.score not above 5",
        "watermark.score not below 0.8",
        "nsfw.score not below 0.5",
        "",
        "watermark.score missing",
    ]
    nothing = Aesthetics(min_aesthetic=None, max_watermark=None, max_nsfw=None)
    assert nothing.select(pool).keep.all()
