import math
from typing import Any

from filters.strategies.english import English
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    languages, sure = awkward["language.language"], awkward["language.confidence"]
    assert kept(English(), awkward) == [row for row in range(200) if languages[row] == "en"]
    expected = [row for row in range(200) if languages[row] == "en" and sure[row] >= 0.5]
    assert 0 < len(expected) < 200
    assert kept(English(min_confidence=0.5), awkward) == expected
    assert "language.confidence" not in English().needs()


def test_boundaries_and_reasons(columns: Any) -> None:
    pool = columns(
        5,
        language__language=["en", "en", "en", "de", None],
        language__confidence=[0.5, 0.4999, math.nan, 1.0, 1.0],
    )
    assert English(min_confidence=0.5).select(pool).reason.tolist() == [
        "",
        "language.confidence below 0.5",
        "language.confidence below 0.5",
        "language.language is not en",
        "language.language is not en",
    ]
    assert English(language="de").select(pool).keep.tolist() == [False, False, False, True, False]
