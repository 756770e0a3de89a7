"""Header blocks of plain tars: how they are written, and what stands where in them (POSIX 1003.1-1988, ustar)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "CHECKSUM",
    "CHECKSUM_DIGITS",
    "PADDING",
    "SIZE",
    "SIZE_DIGITS",
    "USTAR",
    "checksums",
    "header",
    "header_blocks",
    "octal_fields",
]

BLOCK = 512
PADDING = bytes(BLOCK)
SIZE, CHECKSUM = slice(124, 135), slice(148, 154)
"""The octal digits of both numbers in a header."""
CHECKSUM_DIGITS = 8 ** np.arange(5, -1, -1)
SIZE_DIGITS = 8 ** np.arange(10, -1, -1)
USTAR = np.frombuffer(b"ustar", np.uint8)
_OWNER, _TIME = b"0000444\x000000000\x000000000\x00", b"\x0000000000000\x00"
_REST = b"0".ljust(101, b"\0") + b"ustar\x0000" + bytes(247)
_CONSTANT_SUM = sum(_OWNER) + sum(_TIME) + sum(b" " * 8) + sum(_REST)


def header(name: bytes, size: int) -> bytes:
    """Return a ustar header block (POSIX 1003.1-1988) of a regular file, mode 0444, owner 0, time 0."""
    if len(name) > 100 or size >= 8**11:
        raise ValueError(f"member {name.decode()!r} of {size} bytes does not fit a ustar header")
    length = b"%011o" % size
    # all but name, size and checksum is constant, and so is its part of the checksum, the sum of all bytes
    checksum = b"%06o\0 " % (_CONSTANT_SUM + sum(name) + sum(length))
    return b"%b%b%b%b%b%b" % (name, PADDING[: 100 - len(name)], _OWNER, length, _TIME + checksum, _REST)


def header_blocks(names: Sequence[bytes], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return (n, 512) the headers of n files, all made at once.

    Args:
        names: at most 100 bytes each.
        sizes: (n,) bytes of content.
    """
    if not names:
        return np.zeros((0, BLOCK), np.uint8)
    if max(map(len, names)) > 100 or sizes.max() >= 8**11:
        longest = max(names, key=len).decode()
        raise ValueError(f"a member of {sizes.max()} bytes or one called {longest!r} does not fit a ustar header")
    blocks = np.tile(np.frombuffer(header(b"", 0), np.uint8), (len(names), 1))
    blocks[:, :100] = np.array(names, "S100").view(np.uint8).reshape(-1, 100)
    blocks[:, SIZE] = sizes[:, None] // SIZE_DIGITS % 8 + ord("0")
    blocks[:, CHECKSUM] = checksums(blocks)[:, None] // CHECKSUM_DIGITS % 8 + ord("0")
    return blocks


def checksums(blocks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return (n,) what headers should say: the sum of their bytes, those of the checksum counted as spaces."""
    own = blocks[:, 148:156].sum(axis=1, dtype=np.uint32)
    sums: NDArray[np.int64] = (blocks.sum(axis=1, dtype=np.uint32) - own + 8 * ord(" ")).astype(np.int64)
    return sums


def octal_fields(fields: NDArray[np.uint8], digits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return (n,) the numbers in (n, d) octal digits, and which of them are that and nothing else."""
    values = fields - np.uint8(ord("0"))  # what is no digit wraps round
    good: NDArray[np.bool_] = np.all(values <= 7, axis=1)
    return values.astype(np.int64) @ digits, good
