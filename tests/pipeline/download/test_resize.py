import io

import numpy as np
import pytest
from PIL import Image

from pipeline.download.exif import exif_json
from pipeline.download.resize import Resizer
from winnow.images import ImageError, decode_image


def shape_of(data):
    return decode_image(data).shape[:2]


@pytest.mark.parametrize(
    ("mode", "only_if_bigger", "size", "expected"),
    [
        ("no", True, (400, 300), (400, 300)),
        ("keep_ratio", True, (400, 300), (133, 100)),
        ("keep_ratio", True, (400, 80), (400, 80)),
        ("keep_ratio", False, (40, 30), (133, 100)),
        ("keep_ratio_largest", True, (400, 300), (100, 75)),
        ("keep_ratio_largest", True, (60, 30), (60, 30)),
        ("keep_ratio_largest", False, (60, 30), (100, 50)),
        ("center_crop", True, (400, 300), (100, 100)),
        ("center_crop", True, (400, 90), (400, 90)),
        ("border", True, (400, 300), (100, 100)),
        ("border", True, (60, 30), (60, 30)),
        ("border", False, (60, 30), (100, 100)),
    ],
)
def test_sizes_by_mode(picture, mode, only_if_bigger, size, expected):
    made = Resizer(image_size=100, resize_mode=mode, resize_only_if_bigger=only_if_bigger)(picture(*size))
    assert (made.width, made.height) == expected
    assert (made.original_width, made.original_height) == size
    assert shape_of(made.data) == expected[::-1]


def test_downscaling_is_what_pillow_makes(picture):
    rng = np.random.default_rng(0)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((400, 300)))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    made = Resizer(image_size=100, encode_format="png", encode_quality=1)(buffer.getvalue())
    reference = np.asarray(Image.fromarray(pixels).resize((100, 75), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(decode_image(made.data).astype(int) - reference).max() <= 2


def test_border_is_white_around_the_whole_picture(picture):
    made = Resizer(image_size=100, resize_mode="border", encode_format="png", encode_quality=1)(picture(400, 200))
    pixels = decode_image(made.data)
    assert (pixels[:25] == 255).all()
    assert (pixels[75:] == 255).all()
    assert not (pixels[25:75] == 255).all(axis=2).any()


@pytest.mark.parametrize(("format", "name"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_formats(picture, format, name):
    made = Resizer(encode_format=format, encode_quality=5)(picture(300, 200))
    assert Image.open(io.BytesIO(made.data)).format == name


def test_skip_reencode_keeps_bytes_that_fit_and_only_those(picture):
    resizer = Resizer(image_size=256, skip_reencode=True)
    fitting = picture(200, 100)
    assert resizer(fitting).data == fitting
    assert resizer(picture(300, 100)).data != picture(300, 100)
    assert resizer(png := picture(200, 100, "PNG")).data != png
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = resizer(picture(200, 100, exif=exif))
    assert (turned.width, turned.height) == (100, 200)
    assert shape_of(turned.data) == (200, 100)


@pytest.mark.parametrize(
    ("rules", "size", "message"),
    [
        ({"min_image_size": 100}, (300, 99), "image too small"),
        ({"max_aspect_ratio": 3.0}, (301, 100), "aspect ratio too large"),
        ({"max_image_area": 9999}, (100, 100), "too large"),
    ],
)
def test_rules_refuse_with_a_reason_and_limits_are_inclusive(picture, rules, size, message):
    with pytest.raises(ImageError, match=message):
        Resizer(**rules)(picture(*size))
    Resizer(**{**rules, "max_image_area": 10_000_000})(picture(300, 100))


def test_exif_keeps_the_camera_and_never_the_place(picture):
    exif = Image.Exif()
    exif[0x010F] = "Wheat & Chaff"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 59.0)
    text = exif_json(Image.open(io.BytesIO(picture(64, 64, exif=exif))))
    assert '"Image Make": "Wheat & Chaff"' in text
    assert '"EXIF DateTimeOriginal": "2026:01:02 03:04:05"' in text
    assert "GPS" not in text
    assert "52" not in text
    assert exif_json(Image.new("RGB", (2, 2))) == "{}"
