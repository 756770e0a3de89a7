"""PP-OCR's text detector (differentiable binarisation) on ONNX Runtime, with the weights of the `rapidocr` package.

Source: Liao et al. 2019, Real-time Scene Text Detection with Differentiable Binarization (arXiv 1911.08947).
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from filters.compute import cpu_threads
from filters.textdetector import TextDetector
from winnow.errors import UserError, require

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

    _detector: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the ONNX file."""
        return {"weights": hashlib.sha256(_model_path().read_bytes()).hexdigest()}

    def setup(self) -> None:
        """Open the detector alone: RapidOCR's own class would also load a recogniser and a classifier."""
        require("onnxruntime", "text")
        from omegaconf import OmegaConf
        from rapidocr.ch_ppocr_det.main import TextDetector as Detector
        from rapidocr.utils.typings import EngineType

        logging.getLogger("RapidOCR").setLevel(logging.WARNING)
        config = OmegaConf.load(_package_path() / "config.yaml")
        engine = OmegaConf.merge(
            config.EngineConfig.onnxruntime,
            {"intra_op_num_threads": cpu_threads(self.threads), "use_cuda": _use_cuda(self.device)},
        )
        fields = {
            "engine_type": EngineType.ONNXRUNTIME,
            "engine_cfg": engine,
            "model_path": str(_model_path()),
            "limit_type": "max",
            "thresh": self.threshold,
            "box_thresh": self.box_threshold,
            "unclip_ratio": self.unclip_ratio,
        }
        self._detector = Detector(OmegaConf.merge(config.Det, fields))

    def detect(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the outline of each line of text.

        The side limit is at most the picture's own: the package's default enlarges every picture to 736 pixels, at
        many times the cost.
        """
        self._detector.limit_side_len = min(self.max_side, max(image.shape[:2]))
        found = self._detector(np.ascontiguousarray(image[:, :, ::-1])).boxes  # trained on OpenCV's BGR
        boxes = [] if found is None else [np.asarray(box, np.float32) for box in found]
        return [box for box in boxes if _height(box) <= self.max_height * min(image.shape[:2])]


def _height(box: NDArray[np.float32]) -> float:
    """Return the shorter side, in pixels, of a rotated rectangle (4, 2)."""
    return float(min(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[1] - box[2])))


def _package_path() -> Path:
    """Return the folder of the installed `rapidocr`."""
    return Path(str(require("rapidocr", "text").__file__)).parent


def _model_path() -> Path:
    """Return the detector's ONNX file inside the package.

    Raises:
        UserError: this version of the package has none.
    """
    found = sorted((_package_path() / "models").glob("*_det_*.onnx"))
    if not found:
        raise UserError(
            f"no *_det_*.onnx in {_package_path() / 'models'}: this version of rapidocr carries no detector; "
            "install a wheel of rapidocr>=3"
        )
    return found[0]


def _use_cuda(device: str) -> bool:
    """Tell whether ONNX Runtime shall use CUDA: asked for, or "auto" and there."""
    import onnxruntime

    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device.startswith("cuda") and not there:
        raise UserError(f"device {device!r} is asked for, but this onnxruntime has no CUDA; install onnxruntime-gpu")
    return there and device != "cpu"
