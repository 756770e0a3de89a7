"""Blur faces whose boxes a pool publishes, so that no sharp edge tells where one was.

Source: Yang et al. 2022, A Study of Face Obfuscation in ImageNet (arXiv 2103.06191): each box grows by a tenth of its
longer side, the picture is blurred by a Gaussian of a tenth of the longest of these sides, and mixed in by a mask that
is blurred likewise. DataComp's pictures were made so (`face_bboxes`).
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["blur_faces", "upright_boxes"]

Box = Sequence[float]
SHARE = 0.1
REACH = 4  # standard deviations at which a Gaussian is as good as zero


def blur_faces(pixels: NDArray[np.uint8], boxes: Sequence[Box]) -> NDArray[np.uint8]:
    """Return a picture with blurred boxes, the same array where there are none.

    Args:
        pixels: (H, W, 3) uint8.
        boxes: [x0, y0, x1, y1] each, relative to width and height.
    """
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.float32)
    longest = 0.0
    for box in boxes:
        if len(box) != 4 or not all(map(math.isfinite, box)):
            continue
        left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
        side = max(right - left, bottom - top)
        longest = max(longest, side)
        grown = (left - SHARE * side, top - SHARE * side, right + SHARE * side, bottom + SHARE * side)
        x0, x1 = (round(min(max(edge, 0), width)) for edge in (grown[0], grown[2]))
        y0, y1 = (round(min(max(edge, 0), height)) for edge in (grown[1], grown[3]))
        mask[y0:y1, x0:x1] = 1
    if not mask.any():
        return pixels
    sigma = SHARE * longest
    reach = math.ceil(REACH * sigma)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    # The mask fades within one reach of the boxes, and what is blurred there comes from one reach further away.
    window = tuple(slice(max(0, int(s[0]) - 2 * reach), int(s[-1]) + 1 + 2 * reach) for s in (rows, columns))
    sharp = pixels[window].astype(np.float32)
    size = (2 * reach + 1, 2 * reach + 1)
    weight = cv2.GaussianBlur(mask[window], size, sigma)[..., None]
    blurred = cv2.GaussianBlur(sharp, size, sigma)
    made = pixels.copy()
    made[window] = np.rint(sharp + weight * (blurred - sharp)).astype(np.uint8)
    return made


def upright_boxes(boxes: Sequence[Box], orientation: int) -> list[list[float]]:
    """Turn boxes along with a picture whose EXIF orientation was applied.

    Published boxes are of the pixels as stored: the detector's pictures had been decoded without regard to EXIF.

    Args:
        boxes: [x0, y0, x1, y1] each, relative.
        orientation: the EXIF tag, 1 to 8.
    """
    turned = []
    for box in boxes:
        if len(box) != 4:
            continue
        x, y = [box[0], box[2]], [box[1], box[3]]
        if orientation in (2, 3, 7, 8):  # the stored picture's left edge ends up at the right or at the bottom
            x = [1 - value for value in x]
        if orientation in (3, 4, 6, 7):
            y = [1 - value for value in y]
        if orientation >= 5:
            x, y = y, x
        turned.append([min(x), min(y), max(x), max(y)])
    return turned
