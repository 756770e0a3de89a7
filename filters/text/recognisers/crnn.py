"""EasyOCR's English recogniser (CRNN: convolutions, two bidirectional LSTMs, CTC) with its packaged weights.

Source: Shi et al. 2015, CRNN (arXiv 1507.05717).
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import PrivateAttr

from filters.models.compute import cpu_threads, resolve_device
from filters.models.easyocr_reader import open_reader, weights_hash
from filters.text.recogniser import TextRecogniser

__all__ = ["CRNN"]

HEIGHT = 64
"""Pixels of a line that the network expects."""
UNSURE = 0.1
"""Confidence below which EasyOCR reads a line a second time, with more contrast, and takes the surer text."""


class CRNN(TextRecogniser):
    """English letters, digits and signs; the confidence is EasyOCR's own, which falls with the length of a line."""

    _reader: Any = PrivateAttr(None)
    _device: str = PrivateAttr("cpu")

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the weights."""
        return {"weights": weights_hash("english_g2.pth")}

    def setup(self) -> None:
        """Load the recogniser without its detector."""
        import torch

        torch.set_num_threads(cpu_threads(self.threads))
        self._device = resolve_device(self.device)
        self._reader = open_reader(detector=False, recogniser=True)
        self._reader.recognizer.to(self._device)

    def recognise(self, lines: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
        """Read each line as EasyOCR's `recognize` does, lines of equal padded width together."""
        grey = [_grey(line) for line in lines]
        out = self._read(grey, contrast=0.0)
        unsure = [row for row, (_, confidence) in enumerate(out) if confidence < UNSURE]
        for row, again in zip(unsure, self._read([grey[row] for row in unsure], contrast=0.5), strict=True):
            out[row] = max(out[row], again, key=lambda text: text[1])
        return out

    def _read(self, lines: Sequence[NDArray[np.uint8]], contrast: float) -> list[tuple[str, float]]:
        """Read grey lines, (64, W) each; `contrast` is what dull ones are raised to, 0 for none."""
        from easyocr.recognition import AlignCollate, recognizer_predict

        groups: dict[int, list[int]] = defaultdict(list)
        for row, line in enumerate(lines):
            groups[HEIGHT * math.ceil(line.shape[1] / HEIGHT)].append(row)  # the padded width follows from the line
        out = [("", 0.0)] * len(lines)
        for width, rows in groups.items():
            collate = AlignCollate(HEIGHT, width, keep_ratio_with_pad=True, adjust_contrast=contrast)
            starts = range(0, len(rows), self.batch_size)
            batches = [collate(Image.fromarray(lines[r]) for r in rows[s : s + self.batch_size]) for s in starts]
            reader = self._reader
            texts = recognizer_predict(
                reader.recognizer, reader.converter, batches, width // 10, [], {}, device=self._device
            )
            for row, (text, confidence) in zip(rows, texts, strict=True):
                out[row] = (text, float(confidence))
        return out


def _grey(line: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a line as grey, (64, W), at least as wide as high."""
    size = (HEIGHT * max(1, line.shape[1] / line.shape[0]), HEIGHT)
    grey = cv2.cvtColor(np.ascontiguousarray(line), cv2.COLOR_RGB2GRAY)
    # bilinear: EasyOCR means to take Lanczos, but Pillow's number for that is OpenCV's for bilinear
    return np.asarray(cv2.resize(grey, (int(size[0]), int(size[1])), interpolation=cv2.INTER_LINEAR), np.uint8)
