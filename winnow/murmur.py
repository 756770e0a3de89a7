"""MurmurHash3 of many texts at once: LAION names a pair by the hash of its url and caption.

Source: A. Appleby, MurmurHash3_x64_128 (public domain), seed 0; LAION-5B keeps the first half, signed, of url + text.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["murmur64"]

Words = NDArray[np.uint64]
C1, C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
ROWS = 4096
"""Texts hashed together; they are sorted by length, so that padding stays small."""


def murmur64(texts: list[bytes]) -> NDArray[np.int64]:
    """Return (n,) the first 64 bits of the 128-bit hash of each text."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    order = np.argsort(lengths, kind="stable")
    out = np.empty(len(texts), np.uint64)
    for start in range(0, len(texts), ROWS):
        rows = order[start : start + ROWS]
        width = (int(lengths[rows[-1]]) // 16 + 1) * 16  # always room for a tail, if only of zeros
        padded = b"".join(texts[row].ljust(width, b"\0") for row in rows)
        out[rows] = _hash(np.frombuffer(padded, "<u8").reshape(len(rows), -1), lengths[rows].astype(np.uint64))
    return out.view(np.int64)


def _hash(words: Words, lengths: Words) -> Words:
    """Hash zero-padded texts.

    Args:
        words: (n, 2 * blocks) the texts as little-endian words.
        lengths: (n,) their bytes.
    """
    h1, h2 = np.zeros(len(words), np.uint64), np.zeros(len(words), np.uint64)
    blocks = lengths // np.uint64(16)
    for block in range(words.shape[1] // 2):
        k1, k2 = _rotate(words[:, 2 * block] * C1, 31) * C2, _rotate(words[:, 2 * block + 1] * C2, 33) * C1
        whole = blocks > block
        x1 = (_rotate(h1 ^ k1, 27) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
        x2 = (_rotate(h2 ^ k2, 31) + x1) * np.uint64(5) + np.uint64(0x38495AB5)
        # What follows the last whole block is the tail: mixed in without a round; zeros there change nothing.
        tail = blocks == block
        h1 = np.where(whole, x1, np.where(tail, h1 ^ k1, h1))
        h2 = np.where(whole, x2, np.where(tail, h2 ^ k2, h2))
    h1, h2 = h1 ^ lengths, h2 ^ lengths
    h1 = h1 + h2
    h2 = h2 + h1
    return _finish(h1) + _finish(h2)


def _rotate(x: Words, bits: int) -> Words:
    """Rotate words to the left."""
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


def _finish(x: Words) -> Words:
    """Spread every bit over the word."""
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))
