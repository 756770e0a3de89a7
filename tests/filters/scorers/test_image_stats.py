import cv2
import numpy as np
import pytest

from filters.scorer import Batch
from filters.scorers.image_stats import ImageStats


def measure(*images: np.ndarray) -> dict:
    n = len(images)
    return dict(ImageStats().score(Batch(["0" * 32] * n, [""] * n, [{}] * n, list(images))))


def test_a_flat_picture_has_nothing() -> None:
    columns = measure(np.full((20, 50, 3), 90, np.uint8))
    assert (columns["width"][0], columns["height"][0]) == (50, 20)
    assert columns["aspect"][0] == pytest.approx(2.5)
    assert columns["brightness"][0] == 90
    for name in ("sharpness", "entropy", "contrast", "colorfulness"):
        assert columns[name][0] == pytest.approx(0, abs=1e-6)


def test_halves_have_one_bit_and_all_levels_eight() -> None:
    halves = np.zeros((16, 16, 3), np.uint8)
    halves[:, 8:] = 255
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert measure(halves, levels)["entropy"].tolist() == pytest.approx([1, 8])


def test_blur_lowers_sharpness_and_grey_has_no_colour(pictures: list) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(noisy, (9, 9), 3))
    columns = measure(noisy, blurred, np.repeat(noisy[..., :1], 3, axis=2))
    assert columns["sharpness"][0] > 10 * columns["sharpness"][1]
    assert columns["colorfulness"][0] > 30
    assert columns["colorfulness"][2] == 0
