from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from filters.pool_scorers.metaclip import Metaclip
from filters.strategy import Columns
from winnow.component import build
from winnow.errors import UserError

ENTRIES = ["dog", "cat", "new york", "New York", "a", "red house", "house", "überraschung", "don't", "1.5", "dog"]
CAPTIONS = [
    "a dog, a cat and a Dog",
    "dogs and cats",
    "New York:new york",
    "red\thouse\nin`house`",
    "red  house",
    "Überraschung! überraschung?",
    "don't; 1.5",
    "",
    " ",
    "a\u00a0dog",
    "(dog)",
]


def naive(captions: list[str], entries: list[str], t: float) -> tuple[list[int], list[float]]:
    """The rule as the paper's appendix states it: substrings, one entry after the other."""

    def spaced(text: str) -> str:
        for mark in ",.;:?!`":
            text = text.replace(mark, f" {mark} ")
        return " " + "".join(" " if letter.isspace() else letter for letter in text) + " "

    entries = list(dict.fromkeys(entries))
    found = [[entry for entry in entries if f" {entry} " in spaced(caption)] for caption in captions]
    counts = {entry: sum(entry in each for each in found) for entry in entries}
    probability = [1 - np.prod([1 - min(1, t / counts[entry]) for entry in each]) for each in found]
    return [len(each) for each in found], probability


def columns(uids: Callable[[int], Any], captions: list[str]) -> Columns:
    return Columns(uids(len(captions)), {"meta.text": pa.array(captions)})


def vocabulary(path: Path, entries: list[str]) -> str:
    path.write_text("\n".join(["", *entries, "  "]) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("t", [0.5, 1, 2.5, 100])
def test_matches_and_chances_are_those_of_the_rule(uids: Callable[[int], Any], tmp_path: Path, t: float) -> None:
    rng = np.random.default_rng(0)
    words = ["dog", "cat", "a", "red", "house", "new", "york", "New", "York", ",", "!", "tree"]
    captions = CAPTIONS + [" ".join(rng.choice(words, size)) for size in rng.integers(1, 9, 200)]
    found = Metaclip(entries=vocabulary(tmp_path / "v.txt", ENTRIES), t=t).score(columns(uids, captions)).columns
    matches, probability = naive(captions, ENTRIES, t)
    assert found["matches"].tolist() == matches
    np.testing.assert_allclose(found["probability"], probability, atol=1e-6)


def test_the_special_cases_are_as_written(uids: Callable[[int], Any], tmp_path: Path) -> None:
    scorer = Metaclip(entries=vocabulary(tmp_path / "v.txt", ENTRIES), t=1)
    found = scorer.score(columns(uids, CAPTIONS)).columns
    # the "1.5" of the vocabulary can never match, its mark is set off in every caption; "(dog)" is not " dog "
    assert found["matches"].tolist() == [3, 0, 2, 2, 1, 1, 1, 0, 0, 2, 0]
    assert (found["probability"] == 0).tolist() == [n == 0 for n in found["matches"]]
    lower = Metaclip(entries=vocabulary(tmp_path / "v.txt", ENTRIES), t=1, ignore_case=True)
    assert lower.score(columns(uids, ["DOG of NEW YORK"])).columns["matches"].tolist() == [2]


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.6])
def test_t_is_found_so_that_a_share_is_kept(pool: Columns, tmp_path: Path, fraction: float) -> None:
    entries = vocabulary(tmp_path / "v.txt", ["a", "dog", "cat", "of", "sky"])
    found = Metaclip(entries=entries, target_fraction=fraction).score(pool).columns["probability"]
    assert found.astype(np.float64).mean() == pytest.approx(fraction, abs=1e-6)


def test_a_share_that_cannot_be_kept_is_refused(pool: Columns, tmp_path: Path) -> None:
    entries = vocabulary(tmp_path / "v.txt", ["cat"])
    with pytest.raises(UserError, match=r"only 0\.\d+ of the captions contain an entry"):
        Metaclip(entries=entries, target_fraction=0.99).score(pool)
    for fields in ({}, {"t": 1, "target_fraction": 0.5}):
        with pytest.raises(UserError, match="give either `t`, or `target_fraction`"):
            build("filters.pool_scorers", fields, "metaclip")
    with pytest.raises(UserError, match="no entries at"):
        Metaclip(entries=str(tmp_path / "none.txt"), t=1).identity()
    with pytest.raises(UserError, match="holds no entries"):
        Metaclip(entries=vocabulary(tmp_path / "empty.txt", []), t=1).score(pool)


def test_the_default_entries_are_the_lemmas_of_imagenet_21k(uids: Callable[[int], Any]) -> None:
    found = Metaclip(t=10).score(columns(uids, ["my tiger cat and a person", "zxqj"])).columns
    assert found["matches"].tolist() == [4, 0]  # tiger, tiger cat, cat, person
