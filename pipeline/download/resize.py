"""Fit a downloaded picture to a size and encode it, with img2dataset's modes and PyTorch's antialiased resize.

Its uint8 kernels (those behind torchvision's transforms.v2) give what PIL's bicubic gives, at about twice the speed of
OpenCV's area averaging; pictures so made are what CLIP's own preprocessing would have made of the originals.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from pipeline.download.decode import GPS, Picture, decode
from pipeline.download.faces import blur_faces, upright_boxes
from winnow.images import ImageError

__all__ = ["Resized", "Resizer"]

LIMIT = 64_000_000
"""Pixels that a narrow picture may be enlarged to, if the largest that is decoded is not larger."""

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


@dataclass(frozen=True)
class Resized:
    """An encoded picture and its sizes in pixels."""

    data: bytes
    width: int
    height: int
    original_width: int
    original_height: int


@dataclass(frozen=True, kw_only=True)
class Resizer:
    """What to make of a picture; the fields are img2dataset's."""

    image_size: int = 256
    resize_mode: Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"] = "keep_ratio_largest"
    resize_only_if_bigger: bool = True
    upscale_interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    downscale_interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    encode_format: Literal["jpg", "png", "webp"] = "jpg"
    encode_quality: int = 95
    skip_reencode: bool = False
    min_image_size: int = 0
    max_image_area: int = 64_000_000
    max_aspect_ratio: float = float("inf")
    refuse: tuple[str, ...] = ()
    """Traits for which a picture is refused, of `pipeline.download.decode.TRAITS`."""
    fast_decode: bool = True
    """Decode a JPEG at a half, quarter or eighth of its size where that leaves half as much again as is wanted."""

    def __call__(self, data: bytes, boxes: Sequence[Sequence[float]] = ()) -> Resized:
        """Decode, check, resize, blur and encode.

        Args:
            data: the file.
            boxes: [x0, y0, x1, y1] each, relative to the picture as stored: what to blur.

        Raises:
            ImageError: the picture cannot be decoded or breaks a rule; the message is one of few.
        """
        return self.make(self.decode(data), data, boxes)

    def decode(self, data: bytes) -> Picture:
        """Decode and check a file; see `__call__`."""
        picture = decode(data, self.max_image_area, self.refuse, self._factor if self.fast_decode else None)
        short, long = sorted((picture.width, picture.height))
        if short < self.min_image_size:
            raise ImageError("image too small")
        if long > self.max_aspect_ratio * short:
            raise ImageError("aspect ratio too large")
        return picture

    def make(self, picture: Picture, data: bytes, boxes: Sequence[Sequence[float]] = ()) -> Resized:
        """Resize, blur and encode a decoded file; see `__call__`."""
        made = self._resize(picture, upright_boxes(_checked(boxes), picture.orientation))
        height, width = made.shape[:2]
        if made is picture.pixels and self.skip_reencode and _keeps(picture, FORMATS[self.encode_format]):
            encoded = data
        else:
            try:
                encoded = self._encode(made)
            except (ValueError, OSError, RuntimeError):
                raise ImageError(f"cannot encode {width}x{height} as {self.encode_format}") from None
        return Resized(encoded, width, height, picture.width, picture.height)

    def _factor(self, width: int, height: int) -> float | None:
        """Return the factor by which a picture is scaled, None where its size stays."""
        if self.resize_mode == "no":
            return None
        by_largest = self.resize_mode in ("border", "keep_ratio_largest")
        side = max(height, width) if by_largest else min(height, width)
        stays = side == self.image_size or (self.resize_only_if_bigger and side < self.image_size)
        return None if stays else self.image_size / side

    def _resize(self, picture: Picture, boxes: Sequence[Sequence[float]]) -> NDArray[np.uint8]:
        """Return the picture in its new size, the same array where nothing changes."""
        pixels, width, height, size = picture.pixels, picture.width, picture.height, self.image_size
        factor = self._factor(width, height)
        if factor is not None:
            # in integers: a product with the factor would round 0.5 either way
            side = round(size / factor)
            height, width = max(1, round(height * size / side)), max(1, round(width * size / side))
            if height * width > max(self.max_image_area, LIMIT):
                raise ImageError(f"too large: scaled to {width}x{height}")
            how = self.downscale_interpolation if factor < 1 else self.upscale_interpolation
            pixels = _scale(picture, (height, width), how)
        pixels = blur_faces(pixels, boxes)
        by_largest = self.resize_mode in ("border", "keep_ratio_largest")
        reaches = (max if by_largest else min)(height, width) >= size or factor is not None
        if self.resize_mode == "center_crop" and reaches:
            top, left = (height - size) // 2, (width - size) // 2
            return pixels[top : top + size, left : left + size]
        if self.resize_mode == "border" and reaches and (height, width) != (size, size):
            framed = np.full((size, size, 3), 255, dtype=np.uint8)
            top, left = (size - height) // 2, (size - width) // 2
            framed[top : top + height, left : left + width] = pixels
            return framed
        return pixels

    def _encode(self, pixels: NDArray[np.uint8]) -> bytes:
        """Encode (H, W, 3) uint8; png's quality is its compression level."""
        pixels = np.ascontiguousarray(pixels)
        if self.encode_format == "jpg":
            return simplejpeg.encode_jpeg(  # type: ignore[no-any-return]
                pixels, quality=self.encode_quality, colorspace="RGB", colorsubsampling="420"
            )
        buffer = io.BytesIO()
        if self.encode_format == "png":
            Image.fromarray(pixels).save(buffer, "PNG", compress_level=self.encode_quality)
        else:
            Image.fromarray(pixels).save(buffer, "WEBP", quality=self.encode_quality)
        return buffer.getvalue()


def _checked(boxes: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return boxes that are four finite numbers each, within three times the picture.

    Raises:
        ImageError: one is not; whom it was for would go unblurred.
    """
    if not boxes:
        return []
    try:
        found = np.array([list(map(float, box)) for box in boxes], np.float64).reshape(len(boxes), 4)
    except (TypeError, ValueError, OverflowError):
        raise ImageError("face boxes are not four numbers") from None
    if not np.isfinite(found).all():
        raise ImageError("face boxes are not four numbers")
    return found.clip(-1, 2).tolist()  # type: ignore[no-any-return]


def _scale(picture: Picture, size: tuple[int, int], interpolation: str) -> NDArray[np.uint8]:
    """Resize a picture to `size` = (height, width), antialiased."""
    import torch
    from torch.nn.functional import interpolate

    # The permuted view keeps channels last in memory, which the vectorised uint8 kernels take as it is.
    image = torch.from_numpy(np.require(picture.pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
    native = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    image = image if native else image.float()
    if picture.part == 1:
        scaled = interpolate(image, size, mode=interpolation, antialias=True)
    else:
        # Decoded in part the last row and column stand for less than the others do. The factor says so, where sizes
        # would stretch the picture by up to a pixel; the hair above it sees that the size is not rounded down.
        old = picture.height, picture.width
        exact = [(1 + 1e-9) * new * picture.part / side for new, side in zip(size, old, strict=True)]
        scaled = interpolate(image, scale_factor=exact, mode=interpolation, antialias=True)
    if not native:
        scaled = scaled.round().clamp(0, 255).to(torch.uint8)
    # The result has a plane a channel; OpenCV interleaves them in a fifteenth of the time that torch takes.
    made: NDArray[np.uint8] = cv2.merge(list(scaled[0].numpy()))
    return made


def _keeps(picture: Picture, format: str) -> bool:
    """Tell whether the bytes can stand as they are: right format, nothing converted, no position in the EXIF."""
    header = picture.header
    return header.format == format and header.mode == "RGB" and not picture.traits and GPS not in header.getexif()
