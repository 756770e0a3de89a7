"""The text-recogniser role, a part of the scorer `ocr`: cut-out lines of text in, what they say out."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from winnow.component import Component

__all__ = ["TextRecogniser", "rectified"]


class TextRecogniser(Component):
    """Read lines of text. Entries lie in `filters/text/recognisers/`."""

    batch_size: int = Field(default=16, ge=1, exclude=True)
    """Lines in one forward pass; no part of the columns' identity."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    def identity(self) -> Mapping[str, str]:
        """Return the weights' hash and whatever else the texts depend on beside the fields; load no model."""
        raise NotImplementedError

    def setup(self) -> None:
        """Load the model, once in each worker."""
        raise NotImplementedError

    def recognise(self, lines: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
        """Read lines of text; what one says does not depend on the others.

        Args:
            lines: n arrays (h, w, 3) uint8 RGB, text upright, from left to right.

        Returns:
            each line's text, "" where it reads none, and how sure it is, in [0, 1].
        """
        raise NotImplementedError


def rectified(image: NDArray[np.uint8], outline: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut a quadrilateral out of a picture and straighten it.

    One that is at least half as high again as wide holds text that runs upwards: it is turned by 90 degrees.

    Args:
        image: (H, W, 3) uint8.
        outline: (4, 2) pixel coordinates x, y, clockwise from the top left.

    Returns:
        (h, w, 3) uint8, at least one pixel.
    """
    top, right, bottom, left = (float(np.linalg.norm(outline[i] - outline[(i + 1) % 4])) for i in range(4))
    width, height = max(1, int(max(top, bottom))), max(1, int(max(left, right)))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(outline.astype(np.float32), corners)
    cut = cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.rot90(cut) if height >= 1.5 * width else cut, np.uint8)
