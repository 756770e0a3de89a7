import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from winnow.images import ImageError, decode_image

PIXELS = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((70, 50))
)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def off_by(data: bytes, expected=PIXELS) -> float:
    """Return the mean difference in levels between a decoded picture and what it should be."""
    made = decode_image(data)
    assert made.dtype == np.uint8
    assert made.shape == expected.shape
    return float(np.abs(made.astype(int) - expected.astype(int)).mean())


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 98, "subsampling": 0}, 1.5),
        ("JPEG", {"quality": 98, "subsampling": 0, "progressive": True}, 1.5),
        ("WEBP", {"quality": 95}, 6),
    ],
)
def test_formats(format, options, tolerance):
    assert off_by(encode(Image.fromarray(PIXELS), format, **options)) <= tolerance


def test_cmyk_jpeg_becomes_rgb():
    assert off_by(encode(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=98, subsampling=0)) < 3


def test_grey_of_8_and_16_bits():
    grey = PIXELS[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert off_by(encode(Image.fromarray(grey), "PNG"), expected) == 0
    assert off_by(encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"), expected) == 0
    assert off_by(encode(Image.fromarray(grey), "JPEG", quality=98), expected) < 1.5


def test_transparency_is_laid_over_white():
    alpha = np.zeros(PIXELS.shape[:2], dtype=np.uint8)
    alpha[:, 35:] = 255
    rgba = Image.fromarray(np.dstack([PIXELS, alpha]))
    expected = np.where(alpha[..., None] > 0, PIXELS, 255)
    assert off_by(encode(rgba, "PNG"), expected) == 0
    palette = Image.fromarray(np.zeros((4, 4), dtype=np.uint8), "P")
    palette.putpalette([10, 20, 30] * 256)
    assert (decode_image(encode(palette, "PNG", transparency=0)) == 255).all()
    assert (decode_image(encode(palette, "PNG")) == [10, 20, 30]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(orientation, format):
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(PIXELS), format, exif=exif, **({"quality": 98} if format == "JPEG" else {}))
    assert off_by(data, turns[orientation](PIXELS)) < 4


def test_an_orientation_in_xmp_is_applied():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encode(Image.fromarray(PIXELS), "JPEG", quality=98, xmp=xmp)
    assert off_by(data, np.rot90(PIXELS, -1)) < 4


def test_jpegs_are_decoded_alike_with_metadata_and_without():
    """Pillow reads the header of the one with EXIF, libjpeg-turbo that of the other."""
    exif = Image.Exif()
    exif[0x0112] = 1
    plain, tagged = (encode(Image.fromarray(PIXELS), "JPEG", **more) for more in ({}, {"exif": exif}))
    assert b"Exif" in tagged
    assert b"Exif" not in plain
    assert np.array_equal(decode_image(plain), decode_image(tagged))


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (20, 10), color) for color in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_image(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_pictures_are_refused(format, share):
    data = encode(Image.fromarray(PIXELS), format)
    with pytest.raises(ImageError, match=r"cannot decode|not a picture"):
        decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(ImageError):
        decode_image(data)


def test_a_bomb_is_refused_by_its_header_alone():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(ImageError, match="too large: 60000x60000"):
        decode_image(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT")
    limit = PIXELS.shape[0] * PIXELS.shape[1]
    for format in ("PNG", "JPEG"):
        data = encode(Image.fromarray(PIXELS), format)
        assert decode_image(data, max_pixels=limit).shape == PIXELS.shape
        with pytest.raises(ImageError, match="too large"):
            decode_image(data, max_pixels=limit - 1)


@settings(max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.data())
def test_damage_gives_a_picture_or_an_image_error(format, data):
    damaged = bytearray(encode(Image.fromarray(PIXELS), format))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode_image(bytes(damaged), max_pixels=1_000_000)
    except ImageError:
        return
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


def _odd_scan(data: bytes) -> bytes:
    """Zero the last three bytes of the first scan's header, as some cameras do."""
    place = data.index(b"\xff\xda") + 2
    end = place + int.from_bytes(data[place : place + 2], "big")
    return data[: end - 3] + bytes(3) + data[end:]


def _stray_bytes(data: bytes) -> bytes:
    place = data.index(b"\xff\xc4")
    return data[:place] + bytes(3) + data[place:]


@pytest.mark.parametrize("harm", [_odd_scan, _stray_bytes])
@pytest.mark.parametrize("orientation", [None, 1, 3])
def test_what_libjpeg_only_warns_of_is_a_picture(harm, orientation):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    data = encode(Image.fromarray(PIXELS), "JPEG", exif=exif)
    assert np.array_equal(decode_image(harm(data)), decode_image(data))
    with pytest.raises(ImageError):
        decode_image(harm(data)[:-200])
