import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from filters.text.detectors.ppocr import PPOCR


@pytest.fixture(scope="module")
def detector() -> PPOCR:
    detector = PPOCR(threads=2)
    detector.setup()
    return detector


def test_boxes_equal_the_packages_own_at_native_size(detector: PPOCR, text_picture: np.ndarray) -> None:
    from rapidocr import RapidOCR

    own = RapidOCR(
        params={
            "Det.limit_type": "max",
            "Det.limit_side_len": 256,
            "Det.unclip_ratio": 1.3,
            "Global.log_level": "error",
        }
    )
    expected = own(text_picture[:, :, ::-1], use_cls=False, use_rec=False).boxes
    np.testing.assert_allclose(np.stack(detector.detect(text_picture)), expected)


def test_text_is_found_at_several_sizes(detector: PPOCR, text_picture: np.ndarray) -> None:
    for scale in (0.5, 1.0, 2.0):
        image = np.asarray(cv2.resize(text_picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        assert len(detector.detect(image)) == 2


def test_a_flat_picture_has_no_text(detector: PPOCR) -> None:
    assert detector.detect(np.full((64, 96, 3), 99, np.uint8)) == []


def test_a_whole_object_is_no_text_and_large_text_is() -> None:
    image = np.full((192, 192, 3), 230, np.uint8)
    cv2.ellipse(image, (96, 96), (60, 45), 20, 0, 360, (40, 90, 160), -1)
    cv2.putText(image, "B", (50, 150), cv2.FONT_HERSHEY_SIMPLEX, 5, (200, 30, 30), 18)
    large = Image.new("RGB", (256, 160), (70, 120, 160))
    ImageDraw.Draw(large).text((20, 30), "SALE", font=ImageFont.load_default(90), fill="white")
    boxes = {}
    for limit in (1.0, 0.2):
        detector = PPOCR(threads=2, read_above=limit)
        detector.setup()
        boxes[limit] = detector.detect(image)
        (box,) = detector.detect(np.asarray(large))
        assert np.ptp(box, axis=0).min() > 0.3 * 160
    assert len(boxes[1.0]) > 0
    assert boxes[0.2] == []


def test_a_batch_is_its_pictures(detector: PPOCR, text_picture: np.ndarray, pictures: list) -> None:
    images = [text_picture, *pictures, text_picture[:, ::-1], text_picture[:100]]
    together = detector.detect_batch(images)
    for image, boxes in zip(images, together, strict=True):
        np.testing.assert_array_equal(np.array(boxes), np.array(detector.detect(image)))
    assert [len(boxes) for boxes in (together[0], together[-1])] == [2, 1]
