from typing import Any

from filters.strategies.text_based import TextBased
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    pairs = zip(awkward["language.language"], awkward["vocabulary.match"], strict=True)
    expected = [row for row, (language, match) in enumerate(pairs) if language == "en" and match is True]
    assert 0 < len(expected) < 200
    assert kept(TextBased(), awkward) == expected


def test_reasons(columns: Any) -> None:
    pool = columns(4, language__language=["en", "en", "en", None], vocabulary__match=[True, False, None, True])
    assert TextBased().select(pool).reason.tolist() == [
        "",
        "vocabulary.match is false",
        "vocabulary.match missing",
        "language.language is not en",
    ]
