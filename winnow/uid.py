"""Sample identity: 32 hex characters on disk and on screen, two little-endian uint64 in memory.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108); the subset format of its `apply_filter` and `resharder`.
"""

import binascii
import hashlib
import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["UID", "content_uid", "from_hex", "identify", "make_uid", "own_uid", "to_arrow", "to_hex"]

UID = np.dtype("u8,u8")
"""Upper and lower 64 bits; sorted by field order this is the order of the hex strings."""

WIDTH = 32
"""Characters of a uid."""
LOWER = 0x2020202020202020
"""The bit, in eight characters at a time, that tells a from A; digits have it too."""


def make_uid(url: str, text: str) -> str:
    """Return the uid of a pair that came without one: the first 32 hex characters of sha256(url, NUL, text)."""
    return hashlib.sha256(url.encode() + b"\0" + text.encode()).hexdigest()[:32]


def content_uid(*parts: bytes) -> str:
    """Return the uid of a sample that has nothing but its content: the first 32 hex characters of sha256.

    Args:
        parts: hashed each behind its length, so that no two lists of parts are one text.
    """
    return hashlib.sha256(b"".join(b"%d\0%b" % (len(part), part) for part in parts)).hexdigest()[:32]


_HEX = re.compile("[0-9a-f]{32}")


def own_uid(uid: object) -> str | None:
    """Return the uid that a pair came with, in lower case without dashes; None where it is none: a row number, say."""
    plain = uid.replace("-", "").lower() if isinstance(uid, str) else ""
    return plain if _HEX.fullmatch(plain) else None


def identify(uid: object, url: object, text: object) -> str:
    """Return the uid a pair came with where that is one, else the uid made from its url and caption.

    A column `uid` that holds row numbers or the like gives way; absent url or caption count as "". What has neither uid
    nor url is not for this function: equal captions are not one pair, see `content_uid`.
    """
    return own_uid(uid) or make_uid(*("" if part is None else str(part) for part in (url, text)))


def from_hex(uids: Iterable[str] | pa.Array | pa.ChunkedArray) -> NDArray[np.void]:
    """Convert 32-character hex uids to an (n,) array of dtype "u8,u8".

    Arrow strings are read where they lie, without a Python object per row.

    Raises:
        ValueError: a uid is not 32 hexadecimal characters in lower case, or is missing.
    """
    if not isinstance(uids, pa.Array | pa.ChunkedArray):
        uids = pa.array(uids, pa.string())
    chunks = uids.chunks if isinstance(uids, pa.ChunkedArray) else [uids]
    out = np.empty(sum(map(len, chunks)), dtype=UID)
    start = 0
    for chunk in chunks:
        data = _characters(chunk)
        if np.bitwise_and.reduce(np.frombuffer(data, np.uint64)) & LOWER != LOWER:
            raise ValueError("a uid has 32 hexadecimal characters in lower case, not in upper case")
        words = np.frombuffer(binascii.a2b_hex(data), dtype=">u8")
        out[start : start + len(chunk)].view(np.uint64)[:] = words
        start += len(chunk)
    return out


def to_hex(uids: NDArray[np.void]) -> list[str]:
    """Convert an (n,) array of dtype "u8,u8" to 32-character hex strings."""
    text = _hex(uids).decode()
    return [text[start : start + WIDTH] for start in range(0, len(text), WIDTH)]


def to_arrow(uids: NDArray[np.void]) -> pa.Array:
    """Convert an (n,) array of dtype "u8,u8" to an Arrow array of 32-character hex strings.

    Args:
        uids: n below 2^26, so that the characters are counted in 31 bits.
    """
    bounds = np.arange(0, WIDTH * (len(uids) + 1), WIDTH, dtype=np.int32)
    return pa.StringArray.from_buffers(len(uids), pa.py_buffer(bounds), pa.py_buffer(_hex(uids)))


def _hex(uids: NDArray[np.void]) -> bytes:
    """Return the hex characters of all uids one after the other."""
    return binascii.b2a_hex(np.ascontiguousarray(uids).view(np.uint64).astype(">u8"))  # type: ignore[arg-type]


def _characters(uids: pa.Array) -> memoryview:
    """Return the characters of all uids one after the other.

    Raises:
        ValueError: not all of them are strings of 32 bytes.
    """
    if not (pa.types.is_string(uids.type) or pa.types.is_large_string(uids.type)):
        raise ValueError(f"a uid is text of 32 hexadecimal characters, not {uids.type}")
    if uids.null_count:
        raise ValueError("a uid has 32 hexadecimal characters, not None")
    if len(uids) == 0:
        return memoryview(b"")
    _, bounds, characters = uids.buffers()
    kind = np.int32 if pa.types.is_string(uids.type) else np.int64
    ends = np.frombuffer(bounds, kind)[uids.offset : uids.offset + len(uids) + 1]
    (bad,) = np.nonzero(np.diff(ends) != WIDTH)
    if len(bad):
        raise ValueError(f"a uid has 32 hexadecimal characters, not {uids[int(bad[0])].as_py()!r}")
    return memoryview(characters)[ends[0] : ends[-1]]
