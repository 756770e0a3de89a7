import re
from typing import Any

import pytest

from filters.strategies.text_match import TextMatch
from filters.strategy import Columns


def test_against_a_naive_overlap(awkward: Columns, kept: Any) -> None:
    def words(text: Any) -> set[str]:
        return set(re.sub(r"[\W_]", " ", (text or "").lower().replace("ß", "ss")).split())

    expected = []
    for row, (caption, seen) in enumerate(zip(awkward["meta.text"], awkward["ocr.text"], strict=True)):
        mine = words(caption)
        shared = len([word for word in mine if word in words(seen)])
        if seen is not None and not (mine and shared / len(mine) >= 0.5):
            expected.append(row)
    assert 0 < len(expected) < awkward.num_samples
    assert kept(TextMatch(), awkward) == expected


@pytest.mark.parametrize(
    ("caption", "recognised", "keeps"),
    [
        ("summer sale", "SUMMER SALE!", False),
        ("summer sale now on", "sale-now", False),  # exactly half
        ("big summer sale now on", "sale now", True),
        ("a dog", "", True),
        ("", "sale", True),
        ("...", "...", True),
        (None, "sale", True),
        ("Große Straße", "GROSSE STRASSE", False),
        ("Ｓａｌｅ", "sale", False),  # full-width letters
        ("cafe\u0301 bar", "CAFÉ", False),
        ("sale sale sale dog cat", "sale", True),  # distinct words count: one of three
        ("salesman", "sale", True),  # whole words
    ],
)
def test_overlap(columns: Any, caption: str | None, recognised: str, keeps: bool) -> None:
    pool = columns(1, meta__text=[caption], ocr__text=[recognised])
    assert TextMatch().select(pool).keep.tolist() == [keeps]


def test_threshold_and_reasons(columns: Any) -> None:
    pool = columns(3, meta__text=["one two three four"] * 3, ocr__text=["one", None, ""])
    verdict = TextMatch(threshold=0.25).select(pool)
    assert verdict.reason.tolist() == ["ocr.text shows 25% or more of the caption", "ocr.text missing", ""]
    assert TextMatch(threshold=0.26).select(pool).keep.tolist() == [True, False, True]
