"""Files that claim to be pictures: pixels within the limit or an ImageError, whichever program made or damaged them."""

import io
import json
import struct
import subprocess
import zlib

import numpy as np
import pytest
from hostile import Packed, bounded, damaged, fuzz, little_memory
from hypothesis import given
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from pipeline.download.convert import Converter, Row
from pipeline.download.failures import failure_classes
from pipeline.download.resize import Resizer
from winnow.images import ImageError, decode_image

LIMIT = 200_000
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "MPO")


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def originals() -> dict[str, bytes]:
    """Return valid files of every format and of the odd modes that have one."""
    image = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif.get_ifd(0x8825)[1] = "N"
    Image.init()
    found = {form: saved(image, form) for form in FORMATS if form in Image.SAVE}
    found |= {
        "progressive": saved(image, "JPEG", progressive=True, exif=exif),
        "cmyk": saved(image.convert("CMYK"), "JPEG"),
        "grey": saved(image.convert("L"), "JPEG"),
        "palette": saved(image.quantize(16), "PNG", transparency=3),
        "alpha": saved(image.convert("RGBA"), "PNG", exif=exif),
        "grey and alpha": saved(image.convert("LA"), "PNG"),
        "bits": saved(image.convert("1"), "TIFF"),
        "deep": saved(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "PNG"),
        "float": saved(Image.fromarray(PIXELS[..., 0].astype(np.float32)), "TIFF"),
        "cmyk tiff": saved(image.convert("CMYK"), "TIFF", compression="tiff_deflate"),
        "lab": saved(image.convert("LAB"), "TIFF"),
        "animated": saved(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        "animated png": saved(image, "PNG", save_all=True, append_images=[image.rotate(90)]),
        "animated webp": saved(image, "WEBP", save_all=True, append_images=[image.rotate(90)], exif=exif),
        "text": saved(image, "PNG", pnginfo=None, icc_profile=b"x" * 200),
    }
    return found


ORIGINALS = originals()
POLYGLOTS = st.builds(bytes.__add__, st.sampled_from([*ORIGINALS.values()]), st.sampled_from([*ORIGINALS.values()]))
FILES = st.sampled_from([*ORIGINALS.values()])


@st.composite
def rebuilt(draw: st.DrawFn) -> bytes:
    """Draw a PNG whose chunks were changed and then given the right checksums."""
    data = draw(
        st.sampled_from([ORIGINALS[name] for name in ("PNG", "palette", "alpha", "deep", "animated png", "text")])
    )
    chunks, place = [], 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    index = draw(st.integers(0, len(chunks) - 1))
    kind, content = chunks[index]
    chunks[index] = (
        draw(st.sampled_from([kind, b"zTXt", b"iTXt", b"tRNS", b"eXIf"])),
        draw(damaged(st.just(content), 3)),
    )
    if draw(st.booleans()):
        chunks.insert(draw(st.integers(1, len(chunks))), draw(st.sampled_from(chunks)))
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return data[:8] + b"".join(parts)


CASES = (damaged(FILES, 6) | rebuilt() | damaged(POLYGLOTS, 2) | st.binary(max_size=300)).map(Packed)


CONVERTERS = [
    Converter(resizer=Resizer(image_size=16, max_image_area=LIMIT, **fields), extract_exif=True, verify_hash="off")
    for fields in (
        {"resize_mode": "no", "skip_reencode": True},
        {"resize_mode": "keep_ratio", "resize_only_if_bigger": False, "encode_format": "webp"},
        {"resize_mode": "border"},
        {"resize_mode": "center_crop", "encode_format": "png", "encode_quality": 1},
    )
]


def check(data: bytes) -> None:
    try:
        pixels = decode_image(data, LIMIT)
    except ImageError:
        pass
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert 0 < pixels.shape[0] * pixels.shape[1] <= LIMIT
    for convert in CONVERTERS:
        outcome, made = convert(Row("http://a.test/"), data)
        assert (outcome.status, made is None) in (("success", False), ("failed_to_resize", True))
        if made is not None:
            assert decode_image(made, LIMIT).shape == (outcome.height, outcome.width, 3)
            json.loads(outcome.exif)


@bounded(400)
@given(CASES)
def test_a_hostile_picture_is_pixels_within_the_limit_or_an_image_error(data):
    check(data)


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_originals_are_read(name):
    assert decode_image(ORIGINALS[name], LIMIT).shape in ((24, 20, 3), (20, 24, 3))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"


def refused(data: bytes, words: str, **fields: object) -> None:
    """Check that a download records a reason in these words."""
    convert = Converter(resizer=Resizer(**fields), extract_exif=True, verify_hash="off")
    outcome, made = convert(Row("http://a.test/"), data)
    assert made is None
    assert outcome.status == "failed_to_resize"
    assert words in outcome.error


def test_damage_over_which_decoders_stumble_in_their_own_ways():
    gif, avif = ORIGINALS["GIF"], ORIGINALS["AVIF"]
    for length in range(10, len(gif), 7):
        check(gif[:length])  # IndexError where a block's length is missing
    for place in range(0, 300, 4):
        check(avif[:place] + bytes(4) + avif[place + 4 :])  # RuntimeError


@pytest.mark.parametrize("head", [EPS, b"8BPS\0\1" + bytes(40), b"P6 1 1 1"])
def test_no_format_is_decoded_that_starts_programs_or_that_nobody_needs(head, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    refused(head + b"%%EOF\n", "not a picture")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("turned", [1, 6])
def test_a_jpeg_of_endless_scans_is_refused(turned):
    exif = Image.Exif()
    exif[0x0112] = turned
    data = saved(Image.new("RGB", (6000, 6000)), "JPEG", progressive=True, exif=exif)
    last = data[data.rindex(b"\xff\xda") : -2]
    refused(data[:-2] + last * 100_000 + b"\xff\xd9", "scans")


def test_what_looks_like_scans_in_and_after_a_jpeg_is_none():
    data = saved(Image.fromarray(PIXELS), "JPEG", comment=b"\xff\xda" * 600)
    assert decode_image(data + b"\xff\xda" * 600).shape == PIXELS.shape


def test_a_picture_that_cannot_be_encoded_fails_alone():
    wide = saved(Image.new("L", (70_000, 1)), "PNG")
    refused(wide, "cannot encode 70000x1 as jpg", resize_mode="no")
    refused(wide, "cannot encode 70000x1 as webp", resize_mode="no", encode_format="webp")
    assert "decode" in failure_classes("cannot encode 70000x1 as jpg")


def test_a_narrow_picture_is_not_enlarged_beyond_measure():
    wide = saved(Image.new("L", (60_000, 1)), "PNG")
    with little_memory(300):
        refused(wide, "too large: scaled to", resize_mode="keep_ratio", resize_only_if_bigger=False)


@pytest.mark.parametrize("boxes", [[["a", 0, 1, 1]], [[0, 1]], [[float("nan")] * 4], [None], [[1e400] * 4], [3]])
def test_boxes_that_are_none_fail_their_picture_alone(boxes):
    convert = Converter(resizer=Resizer(), extract_exif=True, verify_hash="off")
    outcome, made = convert(Row("http://a.test/", boxes=boxes), ORIGINALS["JPEG"])
    assert (outcome.status, outcome.error, made) == ("failed_to_resize", "face boxes are not four numbers", None)


def test_a_box_far_larger_than_its_picture_blurs_all_of_it():
    found = [
        Converter(resizer=Resizer(), extract_exif=False, verify_hash="off")(Row("", boxes=[box]), ORIGINALS["JPEG"])[1]
        for box in ([-1e300, -1e300, 1e300, 1e300], [-1, -1, 2, 2])
    ]
    assert found[0] == found[1]


@pytest.mark.slow
def test_hostile_pictures_for_long():
    check(ORIGINALS["JPEG"])  # imports torch
    with little_memory(200):
        fuzz(check, CASES)
