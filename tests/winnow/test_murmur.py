"""MurmurHash3 against published values and a reading of the algorithm byte by byte."""

import numpy as np

from winnow.murmur import murmur64

MASK = 2**64 - 1


def naive(data: bytes) -> int:
    """Return the first half of MurmurHash3_x64_128, one text at a time."""

    def rotate(x: int, bits: int) -> int:
        return ((x << bits) | (x >> (64 - bits))) & MASK

    def finish(x: int) -> int:
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            x = ((x ^ (x >> 33)) * factor) & MASK
        return x ^ (x >> 33)

    c1, c2, h1, h2 = 0x87C37B91114253D5, 0x4CF5AD432745937F, 0, 0
    end = len(data) // 16 * 16
    for start in range(0, end, 16):
        k1, k2 = (int.from_bytes(data[start + half : start + half + 8], "little") for half in (0, 8))
        h1 ^= rotate(k1 * c1 & MASK, 31) * c2 & MASK
        h1 = ((rotate(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= rotate(k2 * c2 & MASK, 33) * c1 & MASK
        h2 = ((rotate(h2, 31) + h1) * 5 + 0x38495AB5) & MASK
    tail = data[end:]
    if len(tail) > 8:
        h2 ^= rotate(int.from_bytes(tail[8:], "little") * c2 & MASK, 33) * c1 & MASK
    if tail:
        h1 ^= rotate(int.from_bytes(tail[:8], "little") * c1 & MASK, 31) * c2 & MASK
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    out = (finish(h1) + finish(h2)) & MASK
    return out - 2**64 if out >> 63 else out


def test_published_value() -> None:
    """The example of the README of the package mmh3, which LAION used."""
    assert murmur64([b"foo"]).tolist() == [-2129773440516405919]


def test_agrees_with_the_algorithm_at_every_length() -> None:
    rng = np.random.default_rng(0)
    texts = [rng.bytes(int(length)) for length in [*range(70), *rng.integers(0, 900, 200)]]
    texts += ["ünïcode 日本".encode(), b"a\0", b"a", b""]
    assert murmur64(texts).tolist() == [naive(text) for text in texts]
    assert murmur64([]).tolist() == []
