"""Arrow's texts against Python's own words, length and comparison."""

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.text.captions import equals, num_characters, num_words

spaces = st.sampled_from(list(" \t\n\r\v\f\x00\x1c\x1f\x85\u00a0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\ufeff"))
lists = st.lists(st.text(st.characters(exclude_categories=["Cs"]) | spaces, max_size=20) | st.none(), max_size=12)


def expected(texts: list[Any]) -> tuple[list[int], list[int]]:
    return [len((text or "").split()) for text in texts], [len(text or "") for text in texts]


def counted(texts: pa.Array) -> tuple[list[int], list[int]]:
    return num_words(texts).tolist(), num_characters(texts).tolist()


@settings(deadline=None)
@given(lists, st.integers(0, 12), st.integers(0, 12))
def test_words_and_characters_are_pythons(texts: list[str | None], start: int, size: int) -> None:
    array, part = pa.array(texts, pa.string()), texts[start : start + size]
    assert counted(array) == expected(texts)
    for kind in (array, array.cast(pa.large_string()), array.dictionary_encode()):
        assert counted(kind.slice(start, size)) == expected(part)


def test_every_code_point_separates_words_or_not_as_in_python() -> None:
    known = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    texts = [f"a{c}b" for c in known]
    words = np.array([len(text.split()) for text in texts])
    assert 20 < (words == 2).sum() < 40
    np.testing.assert_array_equal(num_words(pa.array(texts)), words)
    np.testing.assert_array_equal(num_words(pa.array(known)), words % 2)
    assert (num_characters(pa.array(texts)) == 3).all()


def test_runs_of_every_length_across_the_seams_of_64_bytes() -> None:
    texts = [" " * n + "x" * m + "\u3000" * (n % 3) + "y" * (m % 2) for n in range(70) for m in range(0, 140, 7)]
    assert counted(pa.array(texts)) == expected(texts)


def test_null_slots_count_nothing_whatever_bytes_they_cover() -> None:
    bounds = pa.py_buffer(np.array([0, 3, 8, 9], np.int32).tobytes())
    array = pa.StringArray.from_buffers(3, bounds, pa.py_buffer(b"a btwo wz"), pa.py_buffer(b"\x05"))
    assert counted(array) == ([2, 0, 1], [3, 0, 1])


@pytest.mark.parametrize("kind", [pa.null(), pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_no_text_at_all_in_any_type(kind: pa.DataType) -> None:
    missing = pa.array([None, None], pa.null()).cast(kind)
    assert counted(missing) == ([0, 0], [0, 0])
    assert equals(missing, "en").tolist() == [False, False]
    assert num_words(missing[:0]).shape == equals(missing[:0], "en").shape == (0,)
    assert counted(pa.array(["", ""])) == ([0, 0], [0, 0])


@settings(deadline=None)
@given(st.lists(st.sampled_from(["en", "de", "e", "", None])))
def test_equality_of_plain_and_dictionary_encoded_texts(values: list[str | None]) -> None:
    array, same = pa.array(values, pa.string()), [value == "en" for value in values]
    assert equals(array, "en").tolist() == same
    assert equals(array.dictionary_encode(), "en").tolist() == same
    assert equals(array.dictionary_encode().slice(1), "en").tolist() == same[1:]
