"""Counts and comparisons of texts as Arrow arrays, a whole chunk at once, without a Python string per row.

They mean what Python's `len(text.split())`, `len(text)` and `==` mean; a missing text has no words and equals nothing.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["equals", "num_characters", "num_words"]

_WIDE = np.array([code for code in range(0x80, 0x3001) if chr(code).isspace()])
"""Code points of Unicode's white space beyond ASCII; their UTF-8 begins with C2, E1, E2 or E3."""


def num_characters(texts: pa.Array) -> NDArray[np.int64]:
    """Return (n,) how many code points each text has, 0 where it is missing.

    Args:
        texts: (n,) strings, plain or dictionary-encoded.
    """
    counts = pc.utf8_length(_plain(texts)).fill_null(0)
    return counts.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]


def num_words(texts: pa.Array) -> NDArray[np.int64]:
    """Return (n,) how many words between white space each text has, 0 where it is missing.

    Works on the bytes of all texts at once, which takes a fraction of the time that Arrow's split takes.

    Args:
        texts: (n,) strings, plain or dictionary-encoded.
    """
    texts = _plain(texts)
    if len(texts) == 0:
        return np.zeros(0, np.int64)
    _, bounds, values = texts.buffers()
    ends = np.frombuffer(bounds, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(values or b"", np.uint8)[ends[0] : ends[-1]]
    ends = ends - ends[0]
    space = _is_space(data)
    # a word starts at a byte that is no space, behind one that is or at the front of its text
    starts = np.zeros(len(data) + 64, bool)  # whole 64-bit words of bits, the last one beyond the data
    starts[1 : len(data)] = space[:-1]
    starts[ends[:-1]] = True
    starts[: len(data)] &= ~space
    starts[len(data) :] = False  # where empty texts at the end put theirs
    words = np.diff(_ones_before(starts, ends))
    if texts.null_count:
        words[pc.is_null(texts).to_numpy(zero_copy_only=False)] = 0
    return words


def equals(texts: pa.Array, wanted: str) -> NDArray[np.bool_]:
    """Return (n,) whether each text is `wanted`, False where it is missing.

    Args:
        texts: (n,) strings, plain or dictionary-encoded.
        wanted: what to compare with.
    """
    if pa.types.is_dictionary(texts.type):
        same = pc.take(pc.equal(texts.dictionary.cast(pa.string()), wanted), texts.indices)
    else:
        same = pc.equal(texts.cast(pa.string()), wanted)
    return same.fill_null(False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _plain(texts: pa.Array) -> pa.Array:
    """Return texts as a large_string array: the characters stay where they are."""
    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    return texts.cast(pa.large_string())


def _is_space(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark the (n,) bytes of UTF-8 text that belong to white space."""
    space: NDArray[np.bool_] = data - np.uint8(0x09) < 5  # tab to carriage return; what lies below wraps round
    space |= data - np.uint8(0x1C) < 5  # the four separators of ASCII and the blank
    (two,) = np.nonzero(data == 0xC2)
    (three,) = np.nonzero(data - np.uint8(0xE1) < 3)
    for width, lead in ((2, two), (3, three)):
        code = (data[lead] & (0x1F if width == 2 else 0x0F)).astype(np.int64)
        for place in range(1, width):
            code = code << 6 | data[lead + place] & 0x3F
        found = lead[np.isin(code, _WIDE)]
        for place in range(width):
            space[found + place] = True
    return space


def _ones_before(marks: NDArray[np.bool_], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many marks lie before each of (m,) places, by counting bits 64 at a time.

    Args:
        marks: (n,), read up to the last whole 64.
        places: below that.
    """
    bits = np.packbits(marks[: len(marks) // 64 * 64], bitorder="little").view("<u8")
    before = np.zeros(len(bits) + 1, np.int64)
    np.cumsum(np.bitwise_count(bits), out=before[1:])
    word, place = places >> 6, (places & 63).astype(np.uint64)
    ahead = bits[word] & ((np.uint64(1) << place) - np.uint64(1))
    return before[word] + np.bitwise_count(ahead)  # type: ignore[no-any-return]
