"""Sample identity: 32 hex characters on disk and on screen, two little-endian uint64 in memory.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108); the subset format of its `apply_filter` and `resharder`.
"""

import hashlib
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["UID", "from_hex", "identify", "make_uid", "to_hex"]

UID = np.dtype("u8,u8")
"""Upper and lower 64 bits; sorted by field order this is the order of the hex strings."""


def make_uid(url: str, text: str) -> str:
    """Return the uid of a pair that came without one: the first 32 hex characters of sha256(url, NUL, text)."""
    return hashlib.sha256(url.encode() + b"\0" + text.encode()).hexdigest()[:32]


_HEX = re.compile("[0-9a-f]{32}")


def identify(uid: object, url: object, text: object) -> str:
    """Return the uid a pair came with where that is one, else the uid made from its url and caption.

    A column `uid` that holds row numbers or the like gives way; absent url or caption count as "".
    """
    if isinstance(uid, str) and _HEX.fullmatch(uid):
        return uid
    return make_uid(*("" if part is None else str(part) for part in (url, text)))


def from_hex(uids: Iterable[str]) -> NDArray[np.void]:
    """Convert 32-character hex uids to an (n,) array of dtype "u8,u8".

    Raises:
        ValueError: a uid is not 32 hexadecimal characters.
    """
    texts = list(uids)
    if (bad := next((text for text in texts if len(text) != 32), None)) is not None:
        raise ValueError(f"a uid has 32 hexadecimal characters, not {bad!r}")
    words = np.frombuffer(bytes.fromhex("".join(texts)), dtype=">u8").reshape(-1, 2)
    out = np.empty(len(texts), dtype=UID)
    out["f0"], out["f1"] = words[:, 0], words[:, 1]
    return out


def to_hex(uids: NDArray[np.void]) -> list[str]:
    """Convert an (n,) array of dtype "u8,u8" to 32-character hex strings."""
    text = np.stack([uids["f0"], uids["f1"]], axis=1).astype(">u8").tobytes().hex()
    return [text[start : start + 32] for start in range(0, len(text), 32)]
