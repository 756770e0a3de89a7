"""Decoding a fraction: when, and how far from a full decode."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.download.decode import TRAITS, decode
from pipeline.download.resize import Resizer
from winnow.images import ImageError, decode_image


def jpeg(width: int, height: int, **options) -> bytes:
    """A picture with detail at every scale, without the grain that no two filters treat alike."""
    rng = np.random.default_rng(width)
    layers = []
    for cells in (4, 8, 16, 32):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        layers.append(np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(float))
    buffer = io.BytesIO()
    Image.fromarray(np.mean(layers, axis=0).astype(np.uint8)).save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("factor", "part"), [(None, 1), (0.5, 1), (0.35, 1), (0.344, 2), (0.18, 2), (0.17, 4), (0.08, 8), (0.01, 8)]
)
def test_a_fraction_is_decoded_only_if_it_leaves_enough(factor, part):
    picture = decode(jpeg(803, 401), 10**9, scale=lambda width, height: factor)
    assert picture.pixels.shape[:2] == (-(-401 // part), -(-803 // part))
    assert (picture.width, picture.height) == (803, 401)


def resized(data, size, fast):
    return Resizer(image_size=size, fast_decode=fast, encode_format="png", encode_quality=1)(data)


@pytest.mark.parametrize("size", [340, 200, 171, 100, 87, 50, 33])
@pytest.mark.parametrize("original", [(1003, 777), (1024, 768), (681, 1021)])
def test_the_result_is_that_of_a_full_decode_but_for_little(original, size):
    data = jpeg(*original)
    fast, full = (resized(data, size, fast) for fast in (True, False))
    assert (fast.width, fast.height) == (full.width, full.height)
    assert (fast.original_width, fast.original_height) == original
    difference = np.abs(decode_image(fast.data).astype(int) - decode_image(full.data))
    assert difference.mean() < 0.6


def test_only_a_plain_upright_jpeg_is_decoded_in_part():
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = decode(jpeg(400, 200, exif=exif), 10**9, scale=lambda width, height: 0.1)
    assert turned.pixels.shape == (400, 200, 3)
    assert (turned.width, turned.height, turned.traits, turned.orientation) == (200, 400, ("orientation",), 8)


def test_a_truncated_picture_is_a_failure_in_part_too():
    data = jpeg(800, 600)
    for factor in (None, 0.1):
        with pytest.raises(ImageError, match="cannot decode"):
            decode(data[: len(data) // 2], 10**9, scale=lambda width, height, factor=factor: factor)


@pytest.mark.parametrize("trait", TRAITS)
def test_a_plain_picture_has_no_trait(trait):
    assert decode(jpeg(32, 32), 10**9, refuse=[trait]).traits == ()


def test_an_orientation_that_does_not_exist_is_none():
    exif = Image.Exif()
    exif[0x0112] = 9
    assert decode(jpeg(40, 20, exif=exif), 10**9).traits == ()
