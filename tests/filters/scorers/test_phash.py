import io

import numpy as np
import pytest
from PIL import Image
from scipy.fftpack import dct

from filters.scorer import Batch
from filters.scorers.phash import Phash


def hashes(*images: np.ndarray) -> list[int]:
    n = len(images)
    column = Phash().score(Batch(["0" * 32] * n, [""] * n, [{}] * n, list(images)))["hash"]
    assert column.dtype == np.uint64
    return [int(value) for value in column]


def naive(image: np.ndarray) -> int:
    """The rule as imagehash.phash states it, bit by bit."""
    grey = np.asarray(Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = dct(dct(grey, axis=0), axis=1)[:8, :8]
    median = float(np.median(low))
    text = "".join("1" if low[i, j] > median else "0" for i in range(8) for j in range(8))
    return int(text, 2)


def natural(seed: int, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """A picture with the falling spectrum of photographs."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24, 48):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(noise.resize(size, Image.Resampling.BICUBIC)) / cells
    total -= total.min()
    return (total * 255 / total.max()).astype(np.uint8)


def distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def test_bits_are_those_of_the_rule(pictures: list, text_picture: np.ndarray) -> None:
    images = [*pictures, text_picture, *map(natural, range(10))]
    assert hashes(*images) == [naive(image) for image in images]


@pytest.mark.parametrize("seed", range(8))
def test_copies_are_near_and_strangers_far(seed: int) -> None:
    picture = Image.fromarray(natural(seed))
    copies = [np.asarray(picture.resize(size, Image.Resampling.BICUBIC)) for size in ((160, 120), (500, 375), (96, 96))]
    for quality in (30, 60, 90):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        copies.append(np.asarray(Image.open(stream)))
    copies.append((np.asarray(picture) * 0.8).astype(np.uint8))
    original, stranger, *found = hashes(np.asarray(picture), natural(seed + 100), *copies)
    assert max(distance(original, each) for each in found) <= 6
    assert distance(original, stranger) >= 16


def test_flat_pictures_share_one_hash() -> None:
    flats = [np.full((h, w, 3), level, np.uint8) for h, w, level in ((40, 30, 1), (64, 64, 90), (7, 300, 255))]
    assert hashes(*flats) == [1 << 63] * 3
