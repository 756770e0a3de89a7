from typing import Any

import numpy as np
import pytest

from filters.strategies.basic import Basic
from filters.strategies.image_based import ImageBased
from filters.strategies.image_based_clip_score import ImageBasedClipScore
from filters.strategy import Columns
from filters.subset import hash_uids


def fasttext_tokens(text: str) -> list[str]:
    """Read words as fastText's Dictionary::readWord does, character by character."""
    tokens, word = [], ""
    for character in text:
        if character in " \n\r\t\v\f\0":
            if word:
                tokens.append(word)
            if character == "\n":
                tokens.append("</s>")
            word = ""
        else:
            word += character
    return [*tokens, word] if word else tokens


def naive(columns: Columns, compat: bool) -> list[int]:
    """DataComp's caption filter (fastText says en, more than 1 word, more than 5 characters) and the cluster's hit."""
    rows = []
    for row, (text, language, hit) in enumerate(
        zip(columns["meta.text"], columns["language.language"], columns["target_clusters.hit"], strict=True)
    ):
        words = fasttext_tokens(text or "") if compat else (text or "").split()
        if language == "en" and len(words) > 1 and len(text or "") > 5 and hit is True:
            rows.append(row)
    return rows


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    for compat in (False, True):
        expected = naive(awkward, compat)
        assert 0 < len(expected) < 100
        assert kept(ImageBased(compat=compat), awkward) == expected


def test_its_caption_rule_is_not_that_of_basic(columns: Any) -> None:
    pool = columns(
        1,
        meta__text=["two words"],
        meta__original_width=[300],
        meta__original_height=[300],
        language__language=["en"],
        target_clusters__hit=[True],
    )
    assert ImageBased().select(pool).keep.all()
    assert not Basic().select(pool).keep.any()


@pytest.mark.parametrize(
    ("text", "words", "tokens"),
    [
        ("red barn", 2, 2),
        ("red\u00a0barn", 2, 1),  # a no-break space is white space to Python, not to fastText
        ("redbarn\n", 1, 2),  # the end of a line is a token of fastText
        ("redbarn\n\n", 1, 3),
        ("red\0barn", 1, 2),
        ("  redbarn  ", 1, 1),
        ("日本\u3000の写真です", 2, 1),
    ],
)
def test_words_and_fasttexts_tokens(columns: Any, text: str, words: int, tokens: int) -> None:
    pool = columns(1, meta__text=[text], language__language=["en"], target_clusters__hit=[True])
    assert len(text.split()) == words
    assert len(fasttext_tokens(text)) == tokens
    for number in (1, 2, 3):
        assert ImageBased(min_words=number).select(pool).keep[0] == (words >= number)
        assert ImageBased(min_words=number, compat=True).select(pool).keep[0] == (tokens >= number)


def test_reasons(columns: Any) -> None:
    pool = columns(
        6,
        meta__text=["two words", "two words", "a b", "longword", None, "two words"],
        language__language=["en", "en", "en", "en", "en", None],
        target_clusters__hit=[False, None, True, True, True, True],
    )
    assert ImageBased().select(pool).reason.tolist() == [
        "target_clusters.hit is false",
        "target_clusters.hit missing",
        "caption shorter than 6 characters",
        "caption shorter than 2 words",
        "caption shorter than 2 words",
        "language.language is not en",
    ]


def test_the_score_is_cut_on_the_whole_pool_first(awkward: Columns, kept: Any) -> None:
    score, hashes = awkward["clip_l14.similarity"], hash_uids(awkward.uids)
    ranked = sorted(np.flatnonzero(~np.isnan(score)), key=lambda row: (-score[row], hashes[row]))
    expected = sorted(set(ranked[:60]) & set(naive(awkward, False)))
    assert expected
    assert kept(ImageBasedClipScore(), awkward) == expected
    verdict = ImageBasedClipScore().select(awkward)
    assert all("clip_l14" in verdict.reason[row] for row in range(200) if row not in ranked[:60])


def test_compat_is_both_rules_of_datacomp(awkward: Columns, kept: Any) -> None:
    score = awkward["clip_l14.similarity"]
    threshold = -np.sort(-score)[int(200 * 0.3)]
    expected = [row for row in naive(awkward, True) if score[row] >= threshold]
    assert kept(ImageBasedClipScore(compat=True), awkward) == expected
