from typing import Any

from filters.strategies.caption_length import CaptionLength
from filters.strategy import Columns


def test_against_pythons_own_words_and_length(awkward: Columns, kept: Any) -> None:
    texts = [text or "" for text in awkward["meta.text"]]
    expected = [row for row, text in enumerate(texts) if len(text.split()) > 2 and len(text) > 5]
    assert 0 < len(expected) < 200
    assert kept(CaptionLength(), awkward) == expected


def test_boundaries_and_reasons(columns: Any) -> None:
    texts = ["a b cd", "a b c", "two words", "", None, "one\u2003two\u00a0three", "日本 の 写真です", " \t\n"]
    words, characters = "caption shorter than 3 words", "caption shorter than 6 characters"
    verdict = CaptionLength().select(columns(len(texts), meta__text=texts))
    assert verdict.reason.tolist() == ["", characters, words, words, words, "", "", words]
