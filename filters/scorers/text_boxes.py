"""Where the text in a picture is: outlines, their number, the share of the picture they cover."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from filters.gate import Gate
from filters.scorer import Batch, Scorer
from filters.text.detector import TextDetector
from filters.text.masking import covered
from winnow.component import build

__all__ = ["TextBoxes"]


class TextBoxes(Scorer):
    """Columns `boxes`, `num_boxes` (int32) and `area_share` (float32 in [0, 1]).

    `boxes` is JSON: a list of polygons [[x, y], ...] in pixels of the stored picture. Rows that a gate stops have no
    boxes (null), -1 of them, and an area share of NaN.
    T-MARS itself uses FAST-tiny; see docs/scoring.md for what differs.
    """

    detector: str | dict[str, Any] = "ppocr"
    """A file of `filters/text/detectors/` by name, or {use: name, and its fields}."""
    min_size: float = Field(default=0.0, ge=0)
    """Pixels that the longer side of a box's bounding rectangle must reach."""
    enlarge_below: int = Field(default=32, ge=32)
    """Pictures whose longer side is shorter, in pixels, are enlarged to it first; 32 is the detectors' least."""
    only_if: Gate | None = None
    """Look for text in the rows alone that pass this gate; in all where there is none."""

    _detector: TextDetector | None = PrivateAttr(None)

    def needs(self) -> tuple[str, ...]:
        """Return the scorer that the gate reads."""
        return (self.only_if.clip,) if self.only_if else ()

    def identity(self) -> Mapping[str, str]:
        """Return the detector's fields and identity."""
        detector = self._build()
        return {"detector": detector.model_dump_json(), **detector.identity()}

    def setup(self) -> None:
        """Load the detector."""
        self._detector = self._build()
        self._detector.setup()

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Detect text in the pictures that pass the gate."""
        looked = np.ones(len(batch), bool) if self.only_if is None else self.only_if.passes(batch.columns)
        rows = np.flatnonzero(looked)
        boxes: list[str | None] = [None] * len(batch)
        num_boxes, area = np.full(len(batch), -1, np.int32), np.full(len(batch), np.nan, np.float32)
        images = [batch.images[row] for row in rows]
        for row, image, found in zip(rows, images, self._detect(images), strict=True):
            boxes[row] = json.dumps([np.round(box, 2).tolist() for box in found])
            num_boxes[row], area[row] = len(found), covered((image.shape[0], image.shape[1]), found)
        return {"boxes": boxes, "num_boxes": num_boxes, "area_share": area}

    def _build(self) -> TextDetector:
        spec = {"use": self.detector} if isinstance(self.detector, str) else self.detector
        detector: TextDetector = build("filters.text.detectors", spec, "detector", "text_boxes")
        return detector

    def _detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[NDArray[np.float32]]]:
        """Return the boxes of each picture that are large enough, float32 (4, 2), in its own pixels."""
        assert self._detector is not None, "setup() comes before score()"
        scales = [max(1.0, self.enlarge_below / max(image.shape[:2])) for image in images]
        found = self._detector.detect_batch([_enlarged(i, scale) for i, scale in zip(images, scales, strict=True)])
        out = []
        for boxes, scale in zip(found, scales, strict=True):
            own = [box.astype(np.float64) / scale for box in boxes]
            out.append([box.astype(np.float32) for box in own if np.ptp(box, axis=0).max() >= self.min_size])
        return out


def _enlarged(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Return a picture at `scale` times its size; the very same array at 1."""
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
