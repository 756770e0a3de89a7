import cv2
import numpy as np
import pytest

from filters.models.easyocr_reader import open_reader
from filters.text.detectors.craft import CRAFT


@pytest.fixture(scope="module")
def reader():  # type: ignore[no-untyped-def]
    pytest.importorskip("easyocr")
    return open_reader(detector=True, recogniser=False)


def ready(precision: str) -> CRAFT:
    detector = CRAFT(precision=precision, threads=2, device="cpu")
    detector.setup()
    return detector


def mask(shape: tuple[int, int], boxes: list) -> np.ndarray:
    out = np.zeros(shape, np.uint8)
    for box in boxes:
        cv2.fillPoly(out, [np.round(box).astype(np.int32)], 1)
    return out.astype(bool)


def polygons(reader, image: np.ndarray) -> list:  # type: ignore[no-untyped-def]
    """EasyOCR's own answer."""
    straight, tilted = reader.detect(image)
    return [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, x1, y0, y1 in straight[0]] + list(tilted[0])


@pytest.fixture(scope="module")
def images(text_picture: np.ndarray) -> list[np.ndarray]:
    turn = cv2.getRotationMatrix2D((128, 96), 12, 1)
    return [text_picture, cv2.warpAffine(text_picture, turn, (256, 192), borderMode=cv2.BORDER_REPLICATE)]


def test_float32_gives_easyocrs_boxes(reader, images: list[np.ndarray]) -> None:  # type: ignore[no-untyped-def]
    detector = ready("fp32")
    for image, together in zip(images, detector.detect_batch(images), strict=True):
        expected, got = polygons(reader, image), detector.detect(image)
        np.testing.assert_array_equal(np.array(together), np.array(got))
        assert len(got) == len(expected) > 0
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, np.asarray(theirs), atol=1.01)


def test_bfloat16_covers_the_same_pixels(reader, images: list[np.ndarray]) -> None:  # type: ignore[no-untyped-def]
    detector = ready("bf16")
    for image in images:
        expected, got = mask(image.shape[:2], polygons(reader, image)), mask(image.shape[:2], detector.detect(image))
        assert (expected & got).sum() / (expected | got).sum() > 0.9


def test_a_flat_picture_has_no_text() -> None:
    assert ready("fp32").detect(np.full((64, 96, 3), 99, np.uint8)) == []
