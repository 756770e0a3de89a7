"""The text-detector role, a part of the scorer `text_boxes`: pictures in, the outlines of their text out."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from winnow.component import Component

__all__ = ["TextDetector"]


class TextDetector(Component):
    """Find text in pictures. Entries lie in `filters/text/detectors/`."""

    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"; no part of the columns' identity."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    def identity(self) -> Mapping[str, str]:
        """Return the weights' hash and whatever else the outlines depend on beside the fields; load no model."""
        raise NotImplementedError

    def setup(self) -> None:
        """Load the model, once in each worker."""
        raise NotImplementedError

    def detect(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the outline of each text region.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            k arrays (4, 2) of pixel coordinates x, y in this image.
        """
        raise NotImplementedError

    def detect_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[list[NDArray[np.float32]]]:
        """Return what `detect` finds in each of several pictures; an entry that is faster on many overrides it."""
        return [self.detect(image) for image in images]
