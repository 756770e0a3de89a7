import math
from typing import Any

import numpy as np

from filters.strategies.basic import Basic
from filters.strategy import Columns


def datacomp(text: Any, width: Any, height: Any, language: Any) -> bool:
    """The rule as DataComp's code has it, with the guards that it lacks."""
    if text is None or language != "en" or width is None or height is None:
        return False
    if math.isnan(width) or math.isnan(height) or min(width, height) <= 0:
        return False
    return (
        len(text.split()) > 2
        and len(text) > 5
        and min(width, height) >= 200
        and max(width, height) / min(width, height) <= 3.0
    )


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    names = ("meta.text", "meta.original_width", "meta.original_height", "language.language")
    rows = zip(*(awkward[name].tolist() for name in names), strict=True)
    expected = [row for row, values in enumerate(rows) if datacomp(*values)]
    assert 0 < len(expected) < awkward.num_samples / 2
    assert kept(Basic(), awkward) == expected


def test_each_boundary_and_its_reason(columns: Any) -> None:
    cases = [
        ("a photo of it", 200, 200, "en", ""),
        ("a photo of it", 200, 600, "en", ""),
        ("a photo of it", 600, 200, "en", ""),
        ("a b cd", 300, 300, "en", ""),
        ("a photo of it", 200, 601, "en", "sides differ more than 3:1"),
        ("a photo of it", 199, 200, "en", "shorter side under 200 px"),
        ("a photo of it", 0, 200, "en", "original size unknown"),
        ("a photo of it", None, 200, "en", "original size unknown"),
        ("a photo of it", math.nan, 200, "en", "original size unknown"),
        ("a photo of it", -300, 300, "en", "original size unknown"),
        ("a b c", 300, 300, "en", "caption shorter than 6 characters"),
        ("two words", 300, 300, "en", "caption shorter than 3 words"),
        ("", 300, 300, "en", "caption shorter than 3 words"),
        (None, 300, 300, "en", "caption shorter than 3 words"),
        ("ein Foto davon", 300, 300, "de", "language.language is not en"),
        ("a photo of it", 300, 300, None, "language.language is not en"),
        ("日本 の 写真です", 300, 300, "en", ""),
        ("one\u2003two\u00a0three", 300, 300, "en", ""),
    ]
    pool = columns(
        len(cases),
        meta__text=[case[0] for case in cases],
        meta__original_width=[case[1] for case in cases],
        meta__original_height=[case[2] for case in cases],
        language__language=[case[3] for case in cases],
    )
    assert Basic().select(pool).reason.tolist() == [case[4] for case in cases]


def test_three_to_one_is_exact_at_every_size(columns: Any) -> None:
    sides = np.arange(200, 4000)
    pool = columns(
        2 * len(sides),
        meta__text=["a photo of it"] * 2 * len(sides),
        meta__original_width=np.concatenate([sides, sides]),
        meta__original_height=np.concatenate([3 * sides, 3 * sides + 1]),
        language__language=["en"] * 2 * len(sides),
    )
    keep = Basic().select(pool).keep
    assert keep[: len(sides)].all()
    assert not keep[len(sides) :].any()
