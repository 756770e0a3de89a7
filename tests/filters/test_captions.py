"""Arrow's texts against Python's own words, length and comparison."""

import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.captions import equals, num_characters, num_words

spaces = st.sampled_from(list(" \t\n\r\v\f\x00\x1c\x1f\x85\u00a0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\ufeff"))
texts = st.text(st.characters(exclude_categories=["Cs"]) | spaces, max_size=20) | st.none()


@settings(deadline=None)
@given(st.lists(texts, max_size=8))
def test_words_and_characters_are_pythons(captions: list[str | None]) -> None:
    array = pa.array(captions, pa.string())
    assert num_words(array).tolist() == [len((text or "").split()) for text in captions]
    assert num_characters(array).tolist() == [len(text or "") for text in captions]
    assert equals(array, "en").tolist() == [text == "en" for text in captions]


def test_every_white_space_of_unicode_separates_words() -> None:
    known = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs")]
    counted = num_words(pa.array([f"a{c}b" for c in known]))
    np.testing.assert_array_equal(counted, [len(f"a{c}b".split()) for c in known])


@pytest.mark.parametrize("kind", [pa.null(), pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_no_text_at_all_in_any_type(kind: pa.DataType) -> None:
    missing = pa.array([None, None], pa.null()).cast(kind)
    assert num_words(missing).tolist() == num_characters(missing).tolist() == [0, 0]
    assert equals(missing, "en").tolist() == [False, False]
    assert num_words(missing[:0]).shape == equals(missing[:0], "en").shape == (0,)
