"""The 2015 TensorFlow Inception of FID, through torch-fidelity, with weights from the user's disk.

Source: Heusel et al. 2017 (arXiv 1706.08500); torch-fidelity states 1e-6 relative error to the TF1 original.
"""

from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eval.extractor import Extractor
from winnow.errors import UserError, require

__all__ = ["Inception"]


class Inception(Extractor):
    """2048 pooled features; the resize to 299 pixels is TF1's bilinear, inside the network."""

    metric_name: ClassVar[str] = "FID"
    resize: ClassVar[str] = "TF1 bilinear without antialias to 299x299 (torch-fidelity)"

    weights: str
    """Path of torch-fidelity's `weights-inception-2015-12-05-6726825d.pth`."""
    batch_size: int = 32

    @classmethod
    def tiny(cls) -> "Inception":
        """Return an instance that names weights nobody has; they are read by `extract` only."""
        return cls(weights="weights-inception-2015-12-05-6726825d.pth")

    def inputs(self) -> list[str]:
        """Return the path of the weights."""
        return [self.weights]

    def extract(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Map n (H, W, 3) uint8 RGB pictures of any sizes to (n, 2048) float32."""
        import torch

        model = _model(self.weights)
        parts = []
        for group in _same_size(images, self.batch_size):
            pixels = torch.from_numpy(np.stack(group)).permute(0, 3, 1, 2)
            with torch.inference_mode():
                parts.append(model(pixels)[0].float().numpy())
        features: NDArray[np.float32] = np.concatenate(parts)
        return features


def _same_size(images: list[NDArray[np.uint8]], limit: int) -> list[list[NDArray[np.uint8]]]:
    """Split into runs of equally sized pictures, since the network resizes inside."""
    groups: list[list[NDArray[np.uint8]]] = []
    for image in images:
        if groups and groups[-1][0].shape == image.shape and len(groups[-1]) < limit:
            groups[-1].append(image)
        else:
            groups.append([image])
    return groups


@cache
def _model(weights: str) -> Any:
    """Load the network."""
    if not Path(weights).is_file():
        raise UserError(
            f"no Inception weights at {weights!r}; give the path of torch-fidelity's "
            "weights-inception-2015-12-05-6726825d.pth, or use the extractor `efficientnet_lite0`, which ships its own"
        )
    module = require("torch_fidelity.feature_extractor_inceptionv3", "dev")
    return module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=weights)
