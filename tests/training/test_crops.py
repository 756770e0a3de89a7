import numpy as np
import pytest
from PIL import Image

from training.crops import center_crop, random_resized_crop, shrink

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def test_center_crop_is_torchvisions() -> None:
    from torchvision import transforms

    expected = np.asarray(
        transforms.CenterCrop(60)(Image.fromarray(PICTURE)).resize((16, 16), Image.Resampling.BICUBIC)
    )
    found = center_crop(PICTURE, (16, 16))
    assert (
        np.abs(found.astype(int) - expected)[2:-2, 2:-2].max() <= 1
    )  # the filter sees pixels beyond the box at its edges


def test_random_crop_depends_on_the_generator_alone() -> None:
    first = random_resized_crop(PICTURE, (32, 32), (0.5, 1.0), np.random.default_rng(5))
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, random_resized_crop(PICTURE, (32, 32), (0.5, 1.0), np.random.default_rng(5)))
    assert not np.array_equal(first, random_resized_crop(PICTURE, (32, 32), (0.5, 1.0), np.random.default_rng(6)))


def test_whole_area_keeps_a_flat_picture() -> None:
    flat = np.full((20, 20, 3), 77, dtype=np.uint8)
    assert (random_resized_crop(flat, (8, 8), (0.9, 1.0), np.random.default_rng(0)) == 77).all()


def test_shrink() -> None:
    assert shrink(PICTURE, 60) is PICTURE
    assert shrink(PICTURE, 30).shape == (30, 45, 3)
    assert shrink(np.zeros((1000, 31, 3), np.uint8), 10).shape[1] == pytest.approx(10)
