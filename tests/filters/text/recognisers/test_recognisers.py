"""Both recognisers against the packages they come from, and what both must keep to."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from filters.models.easyocr_reader import open_reader
from filters.text.recogniser import TextRecogniser, rectified
from filters.text.recognisers.crnn import CRNN
from filters.text.recognisers.ppocr import PPOCRReader

TEXTS = ["SALE", "Fresh coffee", "open today", "www.shop.com", "50% off", "a", "New York City Marathon 2019"]


@pytest.fixture(scope="module")
def lines() -> list[np.ndarray]:
    out = []
    for number, text in enumerate(TEXTS):
        font = ImageFont.load_default(18 + 5 * number)
        left, top, right, bottom = font.getbbox(text)
        picture = Image.new("RGB", (int(right - left) + 12, int(bottom - top) + 10), (40, 30 * number, 90))
        ImageDraw.Draw(picture).text((6 - left, 5 - top), text, font=font, fill="white")
        out.append(np.asarray(picture))
    return out


@pytest.fixture(scope="module", params=[PPOCRReader, CRNN])
def recogniser(request: pytest.FixtureRequest) -> TextRecogniser:
    recogniser: TextRecogniser = request.param(threads=1, batch_size=2)
    recogniser.setup()
    return recogniser


def test_clear_text_is_read(recogniser: TextRecogniser, lines: list[np.ndarray]) -> None:
    read = [text.lower().replace(" ", "") for text, _ in recogniser.recognise(lines)]
    expected = [text.lower().replace(" ", "") for text in TEXTS]
    assert sum(a == b for a, b in zip(read, expected, strict=True)) >= len(TEXTS) - 1


def test_a_line_does_not_depend_on_the_others(recogniser: TextRecogniser, lines: list[np.ndarray]) -> None:
    together = recogniser.recognise(lines[::-1])[::-1]
    for line, (text, confidence) in zip(lines, together, strict=True):
        ((alone, sure),) = recogniser.recognise([line])
        assert alone == text
        assert sure == pytest.approx(confidence, abs=1e-3)
    assert recogniser.recognise([]) == []


def test_crnn_is_easyocrs_recognizer(lines: list[np.ndarray]) -> None:
    ours = CRNN(threads=1)
    ours.setup()
    reader = open_reader(detector=False, recogniser=True)
    for line, (text, confidence) in zip(lines, ours.recognise(lines), strict=True):
        ((_, theirs, sure),) = reader.recognize(np.ascontiguousarray(line[:, :, ::-1]))  # it takes arrays for BGR
        assert text == theirs
        assert confidence == pytest.approx(sure, abs=1e-3)


def test_ppocr_is_the_packages_recogniser(lines: list[np.ndarray]) -> None:
    from rapidocr import RapidOCR

    ours = PPOCRReader(threads=1)
    ours.setup()
    own = RapidOCR(params={"Global.log_level": "error"})
    for line, (text, confidence) in zip(lines, ours.recognise(lines), strict=True):
        theirs = own(np.ascontiguousarray(line[:, :, ::-1]), use_det=False, use_cls=False)
        assert text == theirs.txts[0]
        if 240 < 48 * line.shape[1] / line.shape[0] <= 320:  # shorter lines it pads further
            assert confidence == pytest.approx(theirs.scores[0], abs=1e-3)


def test_a_quadrilateral_is_straightened() -> None:
    upright = np.arange(20 * 60 * 3, dtype=np.uint8).reshape(20, 60, 3)
    image = np.zeros((100, 100, 3), np.uint8)
    image[30:50, 10:70] = upright
    outline = np.array([[10, 30], [70, 30], [70, 50], [10, 50]], np.float32)
    np.testing.assert_array_equal(rectified(image, outline), upright)
    turned = np.rot90(image, -1)  # clockwise: text that ran to the right runs downwards now
    down = np.array([[50, 10], [70, 10], [70, 70], [50, 70]], np.float32)
    assert rectified(np.ascontiguousarray(turned), down).shape == (20, 60, 3)
    assert rectified(image, np.zeros((4, 2), np.float32)).shape == (1, 1, 3)
