"""PP-OCR's text detector (differentiable binarisation) on ONNX Runtime, with the weights of the `rapidocr` package.

Source: Liao et al. 2019, Real-time Scene Text Detection with Differentiable Binarization (arXiv 1911.08947).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from filters.compute import cpu_threads
from filters.onnx_models import model_hash, open_session
from filters.textdetector import TextDetector

__all__ = ["PPOCR"]


class PPOCR(TextDetector):
    """Lines of text as rotated rectangles."""

    threshold: float = Field(default=0.3, gt=0, lt=1)
    """Probability above which a pixel is text."""
    box_threshold: float = Field(default=0.5, ge=0, lt=1)
    """Mean probability inside a box from which it counts."""
    unclip_ratio: float = Field(default=1.6, gt=0)
    """How far the shrunken text kernels are grown back; the network's training fixes the scale."""
    max_height: float = Field(default=0.25, gt=0, le=1)
    """Shorter side of a box over that of the picture, above which it is no text. The network was trained on documents
    and boxes whole objects: measured on 256 px, in 11 of 15 emoji and 5 of 14 photographs, at a share of 0.28 to 1.0;
    below this limit in none."""

    max_side: int = Field(default=1024, ge=32)
    """Longer side, in pixels, to which larger pictures are reduced for detection; cost grows with the area. Measured on
    220 px pictures with rendered captions: 160 finds text in 92 % of those that have some, at half the time of full
    size, which finds 93 %."""

    _session: Any = PrivateAttr(None)
    _boxes_of: Any = PrivateAttr(None)
    _sorted: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the ONNX file."""
        return {"weights": model_hash("det")}

    def setup(self) -> None:
        """Open the network alone: RapidOCR's own class would also load a recogniser and a classifier."""
        self._session = open_session("det", self.device)
        from rapidocr.ch_ppocr_det.main import TextDetector as Detector
        from rapidocr.ch_ppocr_det.utils import DBPostProcess

        self._sorted = Detector.sorted_boxes
        self._boxes_of = DBPostProcess(
            self.threshold, self.box_threshold, unclip_ratio=self.unclip_ratio, use_dilation=True
        )

    def detect(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the outline of each line of text.

        The package's default enlarges every picture to 736 pixels, at many times the cost; here a side is at most the
        picture's own.
        """
        height, width = image.shape[:2]
        scale = min(1.0, self.max_side / max(height, width))
        size = [max(32, round(int(side * scale) / 32) * 32) for side in (width, height)]  # the network's stride
        x = cv2.resize(image, size)[:, :, ::-1].astype(np.float32)  # trained on OpenCV's BGR
        x = x.transpose(2, 0, 1)[None] * np.float32(2 / 255) - np.float32(1)
        probability = self._session.run(None, {self._session.get_inputs()[0].name: x})[0]  # (1, 1, *size)
        boxes, _ = self._boxes_of(probability, (height, width))
        found = [np.asarray(box, np.float32) for box in self._sorted(boxes)]
        return [box for box in found if _height(box) <= self.max_height * min(height, width)]

    def detect_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[list[NDArray[np.float32]]]:
        """Detect in several pictures at once, each on a thread of its own."""
        with ThreadPoolExecutor(cpu_threads(self.threads)) as pool:
            return list(pool.map(self.detect, images))


def _height(box: NDArray[np.float32]) -> float:
    """Return the shorter side, in pixels, of a rotated rectangle (4, 2)."""
    return float(min(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[1] - box[2])))
