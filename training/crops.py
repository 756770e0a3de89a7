"""Cut pictures to the size a network takes, with an antialiased bicubic filter as open_clip does.

torchvision's kernel on uint8 is used: Pillow's result up to rounding, several times faster.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

__all__ = ["center_crop", "random_resized_crop", "shrink"]


def random_resized_crop(
    picture: NDArray[np.uint8], size: tuple[int, int], scale: tuple[float, float], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut a random box and scale it to a size.

    Source: Szegedy et al. 2014, Going deeper with convolutions (arXiv 1409.4842), section 6; the rule of ten tries and
    the range of aspect ratios are torchvision's, the scale (0.9, 1.0) is open_clip's.

    Args:
        picture: (H, W, 3) uint8.
        size: (height, width) of the result in pixels; it does not bear on the box's shape, as in torchvision.
        scale: range of the box's share of the picture's area.
        random: the only source of chance.
    """
    height, width = picture.shape[:2]
    for _ in range(10):
        area = height * width * random.uniform(*scale)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
            return _scale(picture[top : top + h, left : left + w], size)
    return center_crop(picture, size)


def center_crop(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale the largest centred box of an (H, W, 3) picture that has the shape of `size`, (height, width), to it."""
    height, width = picture.shape[:2]
    factor = min(height / size[0], width / size[1])
    h, w = min(height, max(1, round(size[0] * factor))), min(width, max(1, round(size[1] * factor)))
    left, top = (width - w) // 2, (height - h) // 2
    return _scale(picture[top : top + h, left : left + w], size)


def shrink(picture: NDArray[np.uint8], shorter: int) -> NDArray[np.uint8]:
    """Reduce an (H, W, 3) picture so that its shorter side is at most `shorter` pixels, keeping the aspect ratio."""
    height, width = picture.shape[:2]
    if min(height, width) <= shorter:
        return picture
    factor = shorter / min(height, width)
    return _scale(picture, (max(shorter, round(height * factor)), max(shorter, round(width * factor))))


def _scale(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a picture to (height, width)."""
    pixels = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)  # torch wants it writable
    scaled = F.resize(pixels, list(size), interpolation=InterpolationMode.BICUBIC, antialias=True)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).numpy())
