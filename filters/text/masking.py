"""Paint over regions of a picture, so that what CLIP sees is the picture without its text.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132) fills text with the average colour of the surrounding pixels; its
masking code is unpublished. `box_mean` is what Fondant's DataComp example does.
"""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Fill", "Shape", "covered", "mask_polygons"]

Fill = Literal["ring_mean", "box_mean", "image_mean", "constant"]
Shape = Literal["polygon", "box"]


def mask_polygons(
    image: NDArray[np.uint8],
    polygons: Sequence[NDArray[np.float32]],
    fill: Fill = "ring_mean",
    dilation: int = 0,
    ring_width: int = 4,
    constant: int = 127,
    inflation: float = 0.0,
    shape: Shape = "polygon",
) -> NDArray[np.uint8]:
    """Return the picture with each polygon filled by one colour; the very same array where there is no polygon.

    Colours come from the original picture, so the result does not depend on what was painted before; where polygons
    overlap, the later one is on top.

    Args:
        image: (H, W, 3) uint8.
        polygons: k arrays (m, 2) of pixel coordinates x, y; parts outside the picture are ignored.
        fill: the colour. "ring_mean": the mean of a ring around the polygon, without pixels of any polygon (the mean
            of all uncovered pixels where the ring is empty, of the polygon where nothing is uncovered); "box_mean":
            the mean inside the polygon; "image_mean"; "constant": grey level `constant`.
        dilation: pixels by which each polygon grows on every side first.
        ring_width: pixels.
        constant: grey level in 0..255.
        inflation: share of its own height (the shorter side of its rotated bounding rectangle) by which each polygon
            grows on every side, beside `dilation`.
        shape: "polygon": as detected; "box": its axis-aligned bounding rectangle.
    """
    if not len(polygons):
        return image
    margins = [dilation + (round(inflation * _height(polygon)) if inflation else 0) for polygon in polygons]
    if shape == "box":
        polygons = [_bounding_box(polygon) for polygon in polygons]
    masks = [_grown(_rasterised(image.shape[:2], p), margin) for p, margin in zip(polygons, margins, strict=True)]
    uncovered = ~np.logical_or.reduce(masks)
    out = image.copy()
    for mask in masks:
        if fill == "ring_mean":
            ring = _grown(mask, ring_width) & uncovered
            source = next((m for m in (ring, uncovered, mask) if m.any()), mask)
        elif fill == "box_mean":
            source = mask
        else:
            source = np.ones_like(mask)
        out[mask] = constant if fill == "constant" or not mask.any() else _mean_colour(image, source)
    return out


def covered(shape: tuple[int, int], polygons: Sequence[NDArray[np.float32]]) -> float:
    """Return the share, in [0, 1], of an (H, W) picture's pixels that lie under any of the polygons."""
    if not len(polygons):
        return 0.0
    return float(np.logical_or.reduce([_rasterised(shape, polygon) for polygon in polygons]).mean())


def _height(polygon: NDArray[np.float32]) -> float:
    """Return the shorter side, in pixels, of a polygon's rotated bounding rectangle."""
    return float(min(cv2.minAreaRect(polygon.astype(np.float32))[1]))


def _bounding_box(polygon: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the axis-aligned rectangle (4, 2) around a polygon."""
    (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def _rasterised(shape: tuple[int, int], polygon: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the (H, W) mask of a polygon, its outline included."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
    return mask.astype(bool)


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return the mask and all pixels within `pixels` rows and columns of it."""
    if pixels <= 0:
        return mask
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), bool)


def _mean_colour(image: NDArray[np.uint8], source: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the (3,) mean colour of the pixels in `source`, rounded."""
    return np.asarray(np.round(image[source].mean(axis=0)), np.uint8)
