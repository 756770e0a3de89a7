"""Compare a downloaded file with what a pool's metadata says it was: the same bytes, the same picture, another one."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.scorer import Batch
from filters.scorers.phash import Phash

__all__ = ["SAME_PICTURE_BITS", "Published", "phash_of"]

SAME_PICTURE_BITS = 6
"""Perceptual hashes of 64 bits that differ in at most this many are of one picture, re-encoded or resized."""


@dataclass(frozen=True)
class Published:
    """The hashes that came with a row; None where there are none."""

    sha256: str | None = None
    md5: str | None = None
    phash: int | None = None
    """64 bits, of the scorer `phash`'s kind."""

    def of_bytes(self, body: bytes, sha256: str) -> str:
        """Return "exact", "changed", or "unknown" where no hash of bytes was published.

        Args:
            body: the file.
            sha256: its hash, which the download has computed anyway.
        """
        if self.sha256:
            return "exact" if self.sha256.lower() == sha256 else "changed"
        if self.md5:
            same = hashlib.md5(body, usedforsecurity=False).hexdigest() == self.md5.lower()
            return "exact" if same else "changed"
        return "unknown"

    def of_pixels(self, verdict: str, pixels: NDArray[np.uint8]) -> str:
        """Return a verdict about bytes, with "same_picture" where they are not the same but the picture is.

        Args:
            verdict: of `of_bytes`.
            pixels: (H, W, 3) uint8, what the file decodes to.
        """
        if verdict == "exact" or self.phash is None:
            return verdict
        distance = (self.phash ^ phash_of(pixels)).bit_count()
        return "same_picture" if distance <= SAME_PICTURE_BITS else "changed"


def phash_of(pixels: NDArray[np.uint8]) -> int:
    """Return the 64-bit perceptual hash of (H, W, 3) uint8 pixels."""
    columns: Any = Phash().score(Batch(uids=[""], captions=[""], meta=[{}], images=[pixels]))
    return int(columns["hash"][0])
