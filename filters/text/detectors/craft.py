"""CRAFT, the character-region text detector, with the weights and post-processing of EasyOCR.

Source: Baek et al. 2019, Character Region Awareness for Text Detection (arXiv 1904.01941).
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from filters.models.clip_inference import DTYPES
from filters.models.compute import cpu_threads, resolve_device, resolve_precision
from filters.models.easyocr_reader import open_reader, weights_hash
from filters.text.detector import TextDetector

__all__ = ["CRAFT"]


class CRAFT(TextDetector):
    """Lines of text: words joined as EasyOCR's `Reader.detect` joins them."""

    precision: str = Field(default="auto", pattern="^(auto|fp32|bf16|fp16)$")
    """Of the network: float32 gives EasyOCR's own boxes, bfloat16 the same within a pixel or two, 3-4 times faster."""
    text_threshold: float = Field(default=0.7, gt=0, lt=1)
    """Region score that a text box must reach somewhere."""
    min_size: int = Field(default=20, ge=0)
    """Longer side, in pixels, that a box must exceed; 0 keeps all."""

    _reader: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the weights and the precision used here."""
        precision = resolve_precision(self.precision, resolve_device(self.device))
        return {"weights": weights_hash("craft_mlt_25k.pth"), "precision": precision}

    def setup(self) -> None:
        """Load the detector and put a faster network in its place."""
        torch.set_num_threads(cpu_threads(self.threads))
        device = resolve_device(self.device)
        reader = open_reader(detector=True, recogniser=False)
        reader.device = device
        reader.detector = _FastNetwork(reader.detector, DTYPES[resolve_precision(self.precision, device)]).to(device)
        self._reader = reader

    def detect(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the outline of each line of text."""
        # reformat=False: without the grey copy that only EasyOCR's recogniser reads
        straight, tilted = self._reader.detect(
            image,
            min_size=self.min_size,
            text_threshold=self.text_threshold,
            reformat=False,
        )
        boxes = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, x1, y0, y1 in straight[0]]
        return [np.asarray(box, np.float32) for box in [*boxes, *tilted[0]]]


class _FastNetwork(nn.Module):
    """CRAFT with every convolution and its batch norm fused; float32 in and out."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        for block in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
            names = list(block._modules)
            for first, second in pairwise(names):
                conv, norm = block._modules[first], block._modules[second]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    block._modules[first] = fuse_conv_bn_eval(conv, norm)
                    block._modules[second] = nn.Identity()
        self.network = network.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the region and affinity scores, (B, H/2, W/2, 2) float32, and the features behind them."""
        scores, features = self.network(x.to(dtype=self.dtype, memory_format=torch.channels_last))
        return scores.float(), features
