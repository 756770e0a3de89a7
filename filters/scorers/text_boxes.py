"""Where the text in a picture is: outlines, their number, the share of the picture they cover."""

import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from filters.masking import covered
from filters.scorer import Batch, Scorer
from filters.textdetector import TextDetector
from winnow.component import build

__all__ = ["TextBoxes"]


class TextBoxes(Scorer):
    """Columns `boxes`, `num_boxes` (int32) and `area_share` (float32 in [0, 1]).

    `boxes` is JSON: a list of polygons [[x, y], ...] in pixels of the stored picture.
    T-MARS itself uses FAST-tiny; see docs/scoring.md for what differs.
    """

    detector: str | dict[str, Any] = "ppocr"
    """A file of `filters/textdetect/` by name, or {use: name, and its fields}."""
    min_size: float = Field(default=0.0, ge=0)
    """Pixels that the longer side of a box's bounding rectangle must reach."""
    enlarge_below: int = Field(default=32, ge=32)
    """Pictures whose longer side is shorter, in pixels, are enlarged to it first; 32 is the detectors' least."""

    _detector: TextDetector | None = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the detector's fields and identity."""
        detector = self._build()
        return {"detector": detector.model_dump_json(), **detector.identity()}

    def setup(self) -> None:
        """Load the detector."""
        self._detector = self._build()
        self._detector.setup()

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Detect text in one picture after the other: batches gain nothing on a CPU, and sizes vary."""
        found = [self._detect(image) for image in batch.images]
        sizes = [(image.shape[0], image.shape[1]) for image in batch.images]
        return {
            "boxes": [json.dumps([np.round(box, 2).tolist() for box in boxes]) for boxes in found],
            "num_boxes": np.array([len(boxes) for boxes in found], np.int32),
            "area_share": np.array([covered(s, b) for s, b in zip(sizes, found, strict=True)], np.float32),
        }

    def _build(self) -> TextDetector:
        spec = {"use": self.detector} if isinstance(self.detector, str) else self.detector
        detector: TextDetector = build("filters.textdetect", spec, "detector", "text_boxes")
        return detector

    def _detect(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the boxes of one picture that are large enough, float32 (4, 2), in its own pixels."""
        assert self._detector is not None, "setup() comes before score()"
        scale = max(1.0, self.enlarge_below / max(image.shape[:2]))
        if scale > 1:
            size = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        boxes = [box.astype(np.float64) / scale for box in self._detector.detect(image)]
        return [box.astype(np.float32) for box in boxes if np.ptp(box, axis=0).max() >= self.min_size]
