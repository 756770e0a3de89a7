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

from filters.models.compute import cpu_threads
from filters.models.onnx_models import model_hash, open_session
from filters.text.detector import TextDetector
from filters.text.recogniser import rectified
from filters.text.recognisers.ppocr import PPOCRReader

__all__ = ["PPOCR"]

READ = 0.85
"""Confidence that tells text from objects. Measured on 400 photographs, half of them with rendered text, and 240 emoji:
of the boxes above a fifth of the picture 18 of 19 true ones pass, and 4 of 290 others, of which 3 show letters."""


class PPOCR(TextDetector):
    """Lines of text as rotated rectangles."""

    threshold: float = Field(default=0.3, gt=0, lt=1)
    """Probability above which a pixel is text."""
    box_threshold: float = Field(default=0.5, ge=0, lt=1)
    """Mean probability inside a box from which it counts."""
    unclip_ratio: float = Field(default=1.3, gt=0)
    """How far the shrunken text kernels are grown back. The package's 1.6 adds a margin of pixels that is large beside
    small text; measured, 1.3 finds 80 % of lines at an overlap of 0.5 where 1.6 finds 71 %, and covers as much text."""
    read_above: float = Field(default=0.2, ge=0, le=1)
    """Shorter side of a box over that of the picture, above which it counts only if it can be read: the network was
    trained on documents and takes whole objects for text (a box in 37 % of photographs, in 93 % of emoji). Read means
    two characters or more at a confidence of `READ`. 1 believes every box."""
    max_side: int = Field(default=1024, ge=32)
    """Longer side, in pixels, to which larger pictures are reduced for detection; cost grows with the area."""
    scale: float = Field(default=1.0, gt=0, le=4)
    """Size at which pictures are looked at; 1.25 finds 84 % of lines instead of 80 %, mostly small ones, at 1.5 times
    the cost."""

    _session: Any = PrivateAttr(None)
    _reader: Any = PrivateAttr(None)
    _boxes_of: Any = PrivateAttr(None)
    _sorted: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the hashes of the ONNX files."""
        return {"weights": model_hash("det")} | ({"reader": model_hash("rec")} if self.read_above < 1 else {})

    def setup(self) -> None:
        """Open the network alone: RapidOCR's own class would also load a recogniser and a classifier."""
        self._session = open_session("det", self.device)
        from rapidocr.ch_ppocr_det.main import TextDetector as Detector
        from rapidocr.ch_ppocr_det.utils import DBPostProcess

        self._sorted = Detector.sorted_boxes
        self._boxes_of = DBPostProcess(
            self.threshold, self.box_threshold, unclip_ratio=self.unclip_ratio, use_dilation=True
        )
        if self.read_above < 1:
            self._reader = PPOCRReader(device=self.device, threads=1)
            self._reader.setup()

    def detect(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the outline of each line of text.

        The package's default enlarges every picture to 736 pixels, at many times the cost.
        """
        height, width = image.shape[:2]
        scale = min(self.scale, self.max_side / max(height, width))
        size = [max(32, round(int(side * scale) / 32) * 32) for side in (width, height)]  # the network's stride
        x = cv2.resize(image, size)[:, :, ::-1].astype(np.float32)  # trained on OpenCV's BGR
        x = x.transpose(2, 0, 1)[None] * np.float32(2 / 255) - np.float32(1)
        probability = self._session.run(None, {self._session.get_inputs()[0].name: x})[0]  # (1, 1, *size)
        boxes, _ = self._boxes_of(probability, (height, width))
        found = [np.asarray(box, np.float32) for box in self._sorted(boxes)]
        limit = self.read_above * min(height, width)
        return [box for box in found if min(_sides(box)) <= limit or self._can_be_read(image, box)]

    def detect_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[list[NDArray[np.float32]]]:
        """Detect in several pictures at once, each on a thread of its own."""
        with ThreadPoolExecutor(cpu_threads(self.threads)) as pool:
            return list(pool.map(self.detect, images))

    def _can_be_read(self, image: NDArray[np.uint8], box: NDArray[np.float32]) -> bool:
        """Tell whether the recogniser reads something in a large box; two characters do not fit into a square."""
        if self._reader is None:
            return True
        if max(_sides(box)) < 1.2 * min(_sides(box)):
            return False
        text, confidence = self._reader.recognise([rectified(image, box)])[0]
        return len(text.replace(" ", "")) >= 2 and confidence >= READ


def _sides(box: NDArray[np.float32]) -> tuple[float, float]:
    """Return the lengths, in pixels, of the sides of a rotated rectangle (4, 2)."""
    return float(np.linalg.norm(box[0] - box[1])), float(np.linalg.norm(box[1] - box[2]))
