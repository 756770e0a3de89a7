"""Rows and words of a pool against dictionaries and lists."""

from collections import Counter

import numpy as np
import pyarrow as pa

from eval.report.rows import Words, rows_of
from winnow.uid import UID


def uids(*numbers: int) -> np.ndarray:
    out = np.zeros(len(numbers), UID)
    out["f0"], out["f1"] = np.array(numbers) // 3, np.array(numbers) % 3
    return out


def test_rows_are_those_of_a_dictionary() -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 5, 40):
        pool = rng.permutation(60)[:size].tolist()
        wanted = rng.integers(0, 60, 50).tolist()
        found = rows_of(uids(*pool), uids(*wanted))
        assert found.tolist() == [pool.index(number) if number in pool else -1 for number in wanted]
    assert rows_of(uids(4, 7, 4), uids(4, 9, 7)).tolist() == [0, -1, 1], "a repeated uid stands at its first row"
    assert rows_of(uids(4, 7, 4), uids(4, 7, 4)).tolist() == [0, 1, 2]


def test_words_stand_in_their_rows() -> None:
    column = pa.chunked_array([["low", "", None], ["low", "small", "far"]])
    rows = np.array([3, 0, 5, 2, -1, 4])
    expected = ["", "not judged", "low", "low", "far", ""]
    for given in (column, column.cast(pa.dictionary(pa.int32(), pa.string()))):
        words = Words.of(given, rows, 6, "not judged")
        assert [words[row] for row in range(6)] == expected
        assert words.tally() == Counter(expected)
        assert words.tally(np.array([True] * 3 + [False] * 3)) == Counter(expected[:3])
        assert words.equal("low").tolist() == [word == "low" for word in expected]


def test_no_rows_at_all() -> None:
    words = Words.of(pa.chunked_array([], pa.string()), np.zeros(0, np.int64), 2, "unknown")
    assert [words[0], words[1]] == ["unknown", "unknown"]
    assert words.tally() == Counter(unknown=2)
