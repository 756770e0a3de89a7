"""Simple statistics of the picture: size, blur, entropy, colour."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from filters.scorer import Batch, Scorer

__all__ = ["ImageStats"]


class ImageStats(Scorer):
    """Columns of the picture as stored, not of the original that the download may have shrunk.

    `width`, `height` (int32 pixels), `aspect` (longer over shorter side), `sharpness` (variance of the Laplacian of the
    grey picture; low is blurred; Pech-Pacheco et al. 2000), `entropy` (bits of the grey histogram, 0..8), `brightness`
    and `contrast` (mean and standard deviation of grey, 0..255), `colorfulness` (Hasler and Suesstrunk 2003). float32.
    """

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Measure each picture."""
        rows = [_measure(image) for image in batch.images]
        columns = {name: np.array([row[i] for row in rows], np.float32) for i, name in enumerate(_NAMES)}
        sizes = np.array([image.shape[:2] for image in batch.images], np.int32).reshape(-1, 2)
        return {"width": sizes[:, 1], "height": sizes[:, 0], **columns}


_NAMES = ("aspect", "sharpness", "entropy", "brightness", "contrast", "colorfulness")


def _measure(image: NDArray[np.uint8]) -> tuple[float, ...]:
    """Return the statistics of one picture in the order of _NAMES."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    share = share[share > 0]
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    return (
        max(image.shape[:2]) / min(image.shape[:2]),
        float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        float(-(share * np.log2(share)).sum()) + 0.0,
        float(grey.mean()),
        float(grey.std()),
        float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())),
    )
