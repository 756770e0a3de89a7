import numpy as np
import pytest

from filters.textdetect.ppocr import PPOCR


@pytest.fixture(scope="module")
def detector() -> PPOCR:
    detector = PPOCR(threads=2)
    detector.setup()
    return detector


def test_boxes_equal_the_packages_own_at_native_size(detector: PPOCR, text_picture: np.ndarray) -> None:
    from rapidocr import RapidOCR

    own = RapidOCR(params={"Det.limit_type": "max", "Det.limit_side_len": 256, "Global.log_level": "error"})
    expected = own(text_picture[:, :, ::-1], use_cls=False, use_rec=False).boxes
    np.testing.assert_allclose(np.stack(detector.detect(text_picture)), expected)


def test_text_is_found_at_several_sizes(detector: PPOCR, text_picture: np.ndarray) -> None:
    import cv2

    for scale in (0.5, 1.0, 2.0):
        image = np.asarray(cv2.resize(text_picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        assert len(detector.detect(image)) == 2


def test_a_flat_picture_has_no_text(detector: PPOCR) -> None:
    assert detector.detect(np.full((64, 96, 3), 99, np.uint8)) == []
