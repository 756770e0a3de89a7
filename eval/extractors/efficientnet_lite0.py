"""EfficientNet-Lite0 features from weights that come as a package: a Frechet distance that needs no download.

Source: Tan & Le 2019 (arXiv 1905.11946), Lite variant. Its values are not FID and must not be called so.
"""

from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eval.extractor import Extractor
from winnow.packaged import packaged_weights

__all__ = ["EfficientNetLite0"]


class EfficientNetLite0(Extractor):
    """1280 pooled features of timm's `tf_efficientnet_lite0` at 224 pixels."""

    metric_name: ClassVar[str] = "FD-EffNetLite0"
    resize: ClassVar[str] = "Pillow bicubic with antialias to 224x224, aspect not kept"

    batch_size: int = 16

    def extract(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Map n (H, W, 3) uint8 RGB pictures to (n, 1280) float32."""
        import torch
        from PIL import Image

        model = _model()
        parts = []
        for start in range(0, len(images), self.batch_size):
            resized = [
                np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC))
                for image in images[start : start + self.batch_size]
            ]
            pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 127.5 - 1  # mean = std = 0.5
            with torch.inference_mode():
                parts.append(model(pixels).numpy())
        features: NDArray[np.float32] = np.concatenate(parts)
        return features


@cache
def _model() -> Any:
    """Build the network without its classifier."""
    import timm

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(packaged_weights("tf_efficientnet_lite0"))
    model.reset_classifier(0)
    return model.eval()
