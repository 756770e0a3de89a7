"""Texts as Arrow columns: words, characters and comparisons of a whole chunk at once, without a Python object a row."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["equals", "num_characters", "num_words"]


def num_words(texts: pa.Array) -> NDArray[np.int64]:
    """Return (n,) how many words each text has, those of Python's `str.split()`: 0 where it is missing.

    White space is Unicode's, in Python as in Arrow: category Zs, or bidirectional class B, S or WS.
    """
    trimmed = pc.utf8_trim_whitespace(_strings(texts))
    words = pc.list_value_length(pc.utf8_split_whitespace(trimmed))
    return _numbers(pc.if_else(pc.equal(trimmed, ""), 0, words))  # "" splits into one empty word


def num_characters(texts: pa.Array) -> NDArray[np.int64]:
    """Return (n,) the length of each text in code points, Python's `len`: 0 where it is missing."""
    return _numbers(pc.utf8_length(_strings(texts)))


def equals(texts: pa.Array, value: str) -> NDArray[np.bool_]:
    """Return (n,) whether each text is `value`: False where it is missing."""
    return pc.equal(_strings(texts), value).fill_null(False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _strings(texts: pa.Array) -> pa.Array:
    """Return texts as plain strings, whatever Arrow type holds them (a chunk without any text has the type null)."""
    kept = pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)
    return texts if kept else texts.cast(pa.string())


def _numbers(counts: Any) -> NDArray[np.int64]:
    return counts.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]
