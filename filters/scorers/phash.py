"""Perceptual hash of the picture: 64 bits that survive re-encoding and resizing; near-duplicates differ in few.

Source: Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions; the bits are in the order of
the package `imagehash`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

from filters.scorer import Batch, Scorer

__all__ = ["Phash"]

SIDE = 32
"""Pixels of the square that the picture is shrunk to."""
LOW = 8
"""Coefficients kept along each axis."""
NOISE = 1e-6
"""Rounding of the coefficients, of grey levels: without it a flat picture's bits would be those of rounding errors."""


class Phash(Scorer):
    """Column `hash` (uint64): a bit per low-frequency DCT coefficient, set if above their median, first bit highest."""

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Hash each picture."""
        return {"hash": np.array([_hash(image) for image in batch.images], np.uint64)}


def _hash(image: NDArray[np.uint8]) -> int:
    """Return the hash of one picture, (H, W, 3) uint8 RGB."""
    small = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    spectrum = scipy.fft.dctn(np.asarray(small, np.float64), type=2)[:LOW, :LOW]
    spectrum = np.round(spectrum / NOISE) * NOISE
    bits = spectrum > np.median(spectrum)
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")
