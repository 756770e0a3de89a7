"""Bytes to pixels in bounds: the size is judged from the header before a pixel is decoded, truncation is a failure."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["ImageError", "decode_image", "load_rgb", "open_image", "reasons", "strict_jpeg"]

Image.MAX_IMAGE_PIXELS = None  # decode_image judges the size itself, before decoding

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
"""What is decoded. Of Pillow's others some start programs (EPS: Ghostscript), and nobody has pictures in them."""
MAX_SCANS = 500
"""Of a JPEG. Encoders make a dozen; a few bytes are a scan, and each costs the decoder a pass over all pixels."""

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


class ImageError(ValueError):
    """A picture that cannot be used, with the reason in words."""


def decode_image(data: bytes, max_pixels: int = 64_000_000, min_side: int | None = None) -> NDArray[np.uint8]:
    """Decode a picture to (H, W, 3) uint8 RGB.

    The first frame of an animation counts; transparency is laid over white; CMYK, grey and 16-bit become 8-bit RGB;
    the EXIF orientation is applied.

    Args:
        data: an encoded picture in one of `FORMATS`.
        max_pixels: refuse pictures whose header claims more.
        min_side: the caller will reduce the picture to a shorter side of this many pixels, so a JPEG may be decoded at
            a fraction of its size as long as both sides keep as many: several times faster, but not what a full decode
            and a resize would give (the DCT's low frequencies instead of a filter). Not for scores.

    Raises:
        ImageError: no picture, truncated, or too large.
    """
    with reasons():
        size = _plain_jpeg(data)
        if size is not None:
            _check(size, data, max_pixels)
            pixels = strict_jpeg(data, min_height=min_side or 0, min_width=min_side or 0)
            return load_rgb(open_image(data, max_pixels)) if pixels is None else pixels
        image = open_image(data, max_pixels)
        if image.format == "JPEG" and image.mode == "RGB" and image.getexif().get(0x0112, 1) == 1:
            pixels = strict_jpeg(data, min_height=min_side or 0, min_width=min_side or 0)
            return load_rgb(image) if pixels is None else pixels
        return load_rgb(image)


def _plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """Return the (width, height) of a colour JPEG that says nothing of an orientation, None of any other picture.

    Its header is read in a fifth of the time that Pillow takes.
    """
    if not data.startswith(b"\xff\xd8\xff") or b"Exif" in data or b"Orientation" in data:
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:  # Pillow finds better words
        return None
    return (width, height) if space in ("YCbCr", "RGB") else None


def strict_jpeg(data: bytes, **options: Any) -> NDArray[np.uint8] | None:
    """Decode a colour JPEG to (H, W, 3) uint8 RGB with libjpeg-turbo, without the detour through Pillow.

    Args:
        data: the file.
        options: of `simplejpeg.decode_jpeg`.

    Returns:
        None where libjpeg warns of something that costs no pixel (stray bytes between segments, odd SOS parameters):
        Pillow decodes such a file, and says whether it is whole.

    Raises:
        ImageError: the file is truncated, or its pixels are damaged.
    """
    # pixel data that end early, that no code matches, or that are left over before the end (marker 0xd9) are damage
    damage = ("premature end", "huffman", "marker 0xd9")
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True, **options)
    except ValueError as error:
        if any(words in str(error).lower() for words in damage):
            raise ImageError(f"cannot decode: {error}") from None
        return None
    return pixels


def open_image(data: bytes, max_pixels: int = 64_000_000) -> Image.Image:
    """Read a picture's header and nothing else; call it, and whatever decodes the picture, within `reasons`.

    Raises:
        ImageError: the header claims more than `max_pixels`, or the decoder would take hours.
    """
    image = Image.open(io.BytesIO(data), formats=_formats())
    _check(image.size, data, max_pixels)
    return image


def _check(size: tuple[int, int], data: bytes, max_pixels: int) -> None:
    """Refuse a picture of too many pixels or scans.

    Raises:
        ImageError: with the reason.
    """
    width, height = size
    if width * height > max_pixels:
        raise ImageError(f"too large: {width}x{height} is over {max_pixels} pixels")
    if data.count(b"\xff\xda") > MAX_SCANS and _scans(data) > MAX_SCANS:
        raise ImageError(f"too large: over {MAX_SCANS} scans")


@cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _scans(data: bytes) -> int:
    """Count the scans of a JPEG; what comes after its end, or within other segments, does not count."""
    place = scans = 0
    while (marker := _MARKER.search(data, place)) and marker[1] != b"\xd9":
        place = marker.end()
        scans += marker[1] == b"\xda"
        if marker[1] not in b"\xd8\x01":  # these have no length
            place += int.from_bytes(data[place : place + 2], "big")
    return scans


def load_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Decode what `open_image` opened to (H, W, 3) uint8 RGB, the right way up."""
    image.load()
    return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))


@contextmanager
def reasons() -> Iterator[None]:
    """Turn whatever decoders raise into an `ImageError` that says it in words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not a picture: no known image format") from None
    except Exception as error:  # also IndexError, RuntimeError, struct.error: of damaged files anything may come
        raise ImageError(f"cannot decode: {error}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB; Pillow's own conversions of 16-bit grey clip and of transparency drop it."""
    if image.mode.startswith("I"):
        pixels = np.asarray(image).astype(np.float64)
        return Image.fromarray((pixels / 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
