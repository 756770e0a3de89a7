from typing import Any

from filters.strategies.ocr_english import OCREnglish
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    pairs = zip(awkward["language.language"], awkward["ocr.overlap"], strict=True)
    expected = [row for row, (language, overlap) in enumerate(pairs) if language == "en" and overlap < 0.5]
    assert 0 < len(expected) < 200
    assert kept(OCREnglish(), awkward) == expected


def test_reasons(columns: Any) -> None:
    pool = columns(4, language__language=["en", "en", "en", "de"], ocr__overlap=[0.49, 0.5, None, 0.0])
    assert OCREnglish().select(pool).reason.tolist() == [
        "",
        "picture shows 50% or more of the caption",
        "ocr.overlap missing",
        "language.language is not en",
    ]
