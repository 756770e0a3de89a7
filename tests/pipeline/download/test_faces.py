"""Face blur against the method written out on whole pictures, and the boxes of turned pictures."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.download.faces import blur_faces, upright_boxes

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (150, 200, 3), dtype=np.uint8)


def naive(pixels, boxes):
    """Yang et al.: the whole picture blurred, mixed in by a blurred mask."""
    height, width = pixels.shape[:2]
    mask, longest = np.zeros((height, width)), 0.0
    for x0, y0, x1, y1 in boxes:
        side = max((x1 - x0) * width, (y1 - y0) * height)
        longest = max(longest, side)
        left, right = (np.clip(round(v), 0, width) for v in (x0 * width - side / 10, x1 * width + side / 10))
        top, bottom = (np.clip(round(v), 0, height) for v in (y0 * height - side / 10, y1 * height + side / 10))
        mask[top:bottom, left:right] = 1
    reach = int(np.ceil(0.4 * longest))
    size = (2 * reach + 1, 2 * reach + 1)
    weight = cv2.GaussianBlur(mask, size, 0.1 * longest)[..., None]
    blurred = cv2.GaussianBlur(pixels.astype(float), size, 0.1 * longest)
    return pixels * (1 - weight) + blurred * weight


@pytest.mark.parametrize(
    "boxes", [[[0.4, 0.4, 0.6, 0.6]], [[0.0, 0.0, 0.1, 0.2]], [[0.1, 0.1, 0.2, 0.3], [0.7, 0.6, 0.95, 1.0]]]
)
def test_it_is_the_method_on_the_whole_picture(boxes):
    assert np.abs(blur_faces(PICTURE, boxes) - naive(PICTURE, boxes)).max() <= 1


def test_what_is_far_from_faces_stays_and_faces_do_not():
    made = blur_faces(PICTURE, [[0.4, 0.4, 0.5, 0.5]])
    assert (made[:30] == PICTURE[:30]).all()
    inside = made[62:74, 82:98].astype(float)
    assert inside.std() < PICTURE[62:74, 82:98].std() / 3


@pytest.mark.parametrize("boxes", [[], [[0.5, 0.5, 0.5, 0.5]], [[2, 2, 3, 3]], [[0.1, 0.2]], [[float("nan")] * 4]])
def test_no_box_no_change(boxes):
    assert blur_faces(PICTURE, boxes) is PICTURE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_picture(orientation):
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[8:24, 60:96] = 255  # a box off the centre in both directions
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    ((x0, y0, x1, y1),) = upright_boxes([[60 / 120, 8 / 80, 96 / 120, 24 / 80]], orientation)
    height, width = upright.shape[:2]
    box = np.zeros((height, width), bool)
    box[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = True
    assert (box == (upright[..., 0] == 255)).all()
