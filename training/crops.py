"""Cut pictures to the square a network takes, with an antialiased bicubic filter as open_clip does.

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
    picture: NDArray[np.uint8], size: int, scale: tuple[float, float], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut a random box and scale it to a square.

    Source: Szegedy et al. 2014, Going deeper with convolutions (arXiv 1409.4842), section 6; the rule of ten tries and
    the range of aspect ratios are torchvision's, the scale (0.9, 1.0) is open_clip's.

    Args:
        picture: (H, W, 3) uint8.
        size: side of the result in pixels.
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
            return _resize(picture, size, (left, top, left + w, top + h))
    return center_crop(picture, size)


def center_crop(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale the largest centred square of an (H, W, 3) picture to `size` pixels a side."""
    height, width = picture.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return _resize(picture, size, (left, top, left + side, top + side))


def shrink(picture: NDArray[np.uint8], shorter: int) -> NDArray[np.uint8]:
    """Reduce an (H, W, 3) picture so that its shorter side is at most `shorter` pixels, keeping the aspect ratio."""
    height, width = picture.shape[:2]
    if min(height, width) <= shorter:
        return picture
    factor = shorter / min(height, width)
    return _scale(picture, (max(shorter, round(height * factor)), max(shorter, round(width * factor))))


def _resize(picture: NDArray[np.uint8], size: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Scale a box (left, top, right, bottom) of a picture to a square."""
    left, top, right, bottom = box
    return _scale(picture[top:bottom, left:right], (size, size))


def _scale(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a picture to (height, width)."""
    pixels = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)  # torch wants it writable
    scaled = F.resize(pixels, list(size), interpolation=InterpolationMode.BICUBIC, antialias=True)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).numpy())
