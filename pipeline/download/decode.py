"""Decode a downloaded picture in bounds, by policies that are recorded: what was converted, what is refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from winnow.images import ImageError, load_rgb, open_image, reasons, strict_jpeg

__all__ = ["GPS", "TRAITS", "Picture", "blank", "decode"]

ORIENTATION, GPS = 0x0112, 0x8825

TRAITS = {
    "animation": "the first frame is kept",
    "alpha": "laid over white",
    "cmyk": "converted to RGB by Pillow's formula, without a colour profile",
    "16-bit": "divided down to 8 bits",
    "orientation": "turned upright as its EXIF tag says",
}
"""What makes a picture more than 8-bit RGB pixels -> what becomes of it unless it is refused."""

OVERSIZE = 1.45
"""A JPEG is decoded at a fraction of its size only if that leaves this many times the size it is wanted at.

From here on the result is nearer to that of a full decode than area averaging is to bicubic resizing, and than a JPEG
of quality 95 is to its original: on photographs a mean difference of 1.2 grey levels against 1.3 and 2.6.
"""

COARSE_COLOUR = 2 / 3
"""Up to this factor a JPEG's colours, stored at half its size, are not interpolated before they are scaled down."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB, upright; smaller than `width` and `height` where a fraction was decoded."""
    width: int
    height: int
    traits: tuple[str, ...]
    """Those of `TRAITS` that it had."""
    orientation: int
    """The EXIF tag, 1 to 8, that `pixels` no longer need."""
    header: Image.Image
    """For its EXIF, mode and format."""
    part: int = 1
    """8, 4 or 2 where `pixels` are an eighth, a quarter or a half of the size; edges are rounded up."""


def decode(
    data: bytes, max_pixels: int, refuse: Sequence[str] = (), scale: Callable[[int, int], float | None] | None = None
) -> Picture:
    """Decode a picture.

    Args:
        data: the file.
        max_pixels: refuse headers that claim more.
        refuse: traits for which a picture is refused.
        scale: tells by which factor the caller will scale a picture of a width and height (None: not at all), where a
            JPEG may be decoded at a half, quarter or eighth of its size for that.

    Raises:
        ImageError: no picture, truncated, too large or refused; the message is one of few.
    """
    with reasons():
        header = open_image(data, max_pixels)
        exif = header.getexif()
        orientation = exif.get(ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        traits = _traits(header, data, orientation)
        for trait in traits:
            if trait in refuse:
                raise ImageError(f"refused: {trait}")
        width, height = header.size
        part, pixels = 1, None
        if header.format == "JPEG" and header.mode == "RGB" and orientation == 1:
            wanted = scale(width, height) if scale is not None else None
            part = _fraction(wanted)
            pixels = strict_jpeg(
                data,
                fastupsample=wanted is not None and wanted <= COARSE_COLOUR,
                min_height=-(-height // part) if part > 1 else 0,
                min_width=-(-width // part) if part > 1 else 0,
            )
        if pixels is None:
            part, pixels = 1, load_rgb(header)
            height, width = pixels.shape[:2]
        return Picture(pixels, width, height, traits, orientation, header, part)


def blank(width: int, height: int) -> Picture:
    """Return a black picture that nothing had to be done for."""
    header = Image.new("RGB", (width, height))
    return Picture(np.asarray(header), width, height, (), 1, header)


def _fraction(wanted: float | None) -> int:
    """Return 8, 4, 2 or 1: of which part of its size a picture still is `OVERSIZE` times what is wanted.

    libjpeg-turbo knows sixteenths too, but has fast code for these alone.
    """
    return next((part for part in (8, 4, 2) if wanted is not None and wanted * part * OVERSIZE <= 1), 1)


def _traits(image: Image.Image, data: bytes, orientation: int) -> tuple[str, ...]:
    """Return what the header tells of a picture, in the order of `TRAITS`."""
    is_deep = image.mode.startswith("I") or (image.format == "PNG" and data[24:25] == b"\x10")
    has = {
        # a MPO is a photograph with a second one for depth, or a smaller one
        "animation": image.format != "MPO" and bool(getattr(image, "is_animated", False)),
        "alpha": image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info,
        "cmyk": image.mode == "CMYK",
        "16-bit": is_deep,
        "orientation": orientation != 1,
    }
    return tuple(trait for trait in TRAITS if has[trait])
