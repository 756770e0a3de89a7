"""PP-OCR's text recogniser on ONNX Runtime, with the weights of the `rapidocr` package: Latin, Chinese and more.

Source: Du et al. 2022, SVTR (arXiv 2205.00159); the network is a later release of the same project.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr

from filters.models.compute import cpu_threads
from filters.models.onnx_models import model_hash, open_session
from filters.text.recogniser import TextRecogniser

__all__ = ["PPOCRReader"]

HEIGHT = 48
"""Pixels of a line that the network expects."""
STEP = 80
"""Widths are padded to multiples of it. The network sees the padding, so that must follow from the line alone."""


class PPOCRReader(TextRecogniser):
    """Words with the spaces between them; the confidence of a line is the mean of its characters'."""

    _session: Any = PrivateAttr(None)
    _decode: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the ONNX file."""
        return {"weights": model_hash("rec")}

    def setup(self) -> None:
        """Open the network; its file holds the alphabet."""
        self._session = open_session("rec", self.device)
        from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

        alphabet = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        self._decode = CTCLabelDecode(character=alphabet)

    def recognise(self, lines: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
        """Read lines of equal padded width together, one batch a thread."""
        prepared = [_prepared(line) for line in lines]
        order = sorted(range(len(lines)), key=lambda row: prepared[row].shape[2])
        batches: list[list[int]] = []
        for row in order:
            full = not batches or len(batches[-1]) == self.batch_size
            if full or prepared[batches[-1][0]].shape != prepared[row].shape:
                batches.append([])
            batches[-1].append(row)
        with ThreadPoolExecutor(cpu_threads(self.threads)) as pool:
            texts = list(pool.map(self._read, ([prepared[row] for row in rows] for rows in batches)))
        found = dict(zip(chain(*batches), chain(*texts), strict=True))
        return [found[row] for row in range(len(lines))]

    def _read(self, batch: list[NDArray[np.float32]]) -> list[tuple[str, float]]:
        """Read a batch of (3, 48, W) lines of one width."""
        scores = self._session.run(None, {self._session.get_inputs()[0].name: np.stack(batch)})[0]  # (B, T, alphabet)
        return [(text, float(confidence)) for text, confidence in self._decode(scores)[0]]


def _prepared(line: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (3, 48, W) in [-1, 1], BGR, padded on the right with mid-grey to a multiple of `STEP`."""
    width = max(1, math.ceil(HEIGHT * line.shape[1] / line.shape[0]))
    x = cv2.resize(np.ascontiguousarray(line[:, :, ::-1]), (width, HEIGHT)).astype(np.float32)
    out = np.zeros((3, HEIGHT, math.ceil(width / STEP) * STEP), np.float32)
    out[:, :, :width] = x.transpose(2, 0, 1) * np.float32(2 / 255) - np.float32(1)
    return out
