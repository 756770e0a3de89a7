import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from filters.scorer import Batch
from filters.scorers.ocr import Ocr, reading_order
from filters.scorers.text_boxes import TextBoxes
from winnow.errors import UserError


@pytest.fixture(scope="module")
def poster() -> np.ndarray:
    """Two lines, the first of two columns, the last one rising."""
    picture = Image.new("RGB", (360, 200), (30, 60, 40))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(30)
    draw.text((20, 20), "Fresh", font=font, fill="white")
    draw.text((220, 22), "coffee", font=font, fill="yellow")
    layer = Image.new("RGBA", picture.size)
    ImageDraw.Draw(layer).text((60, 120), "open today", font=font, fill="white")
    layer = layer.rotate(12, Image.Resampling.BICUBIC)
    picture.paste(layer, (0, 0), layer)
    return np.asarray(picture)


@pytest.fixture(scope="module")
def detected(poster: np.ndarray, text_picture: np.ndarray) -> Batch:
    images = [poster, np.full((64, 96, 3), 90, np.uint8), text_picture]
    captions = ["Fresh, fresh coffee: every day", "nothing", "A summer SALE"]
    batch = Batch([f"{i:032x}" for i in range(3)], captions, [{}] * 3, images)
    boxes = TextBoxes(detector={"use": "ppocr", "threads": 1})
    boxes.setup()
    batch.columns = {f"text_boxes.{name}": values for name, values in boxes.score(batch).items()}
    return batch


def ready(recogniser: str) -> Ocr:
    scorer = Ocr(recogniser={"use": recogniser, "threads": 1})
    scorer.setup()
    return scorer


@pytest.mark.parametrize("recogniser", ["ppocr", "crnn"])
def test_rendered_words_are_read_in_order(detected: Batch, recogniser: str) -> None:
    columns = ready(recogniser).score(detected)
    assert [text.lower() for text in columns["text"]] == ["fresh coffee open today", "", "summer big sale"]
    assert columns["num_words"].tolist() == [4, 0, 3]
    assert columns["overlap"].tolist() == pytest.approx([2 / 4, 0, 2 / 3])  # distinct words of the caption
    assert (columns["confidence"][[0, 2]] > 0.8).all()
    assert np.isnan(columns["confidence"][1])


def test_unsure_lines_count_as_not_read(detected: Batch) -> None:
    scorer = Ocr(recogniser={"use": "ppocr", "threads": 1}, min_confidence=1.0)
    scorer.setup()
    columns = scorer.score(detected)
    assert columns["text"] == ["", "", ""]
    assert columns["overlap"].tolist() == [0, 0, 0]


def test_rows_without_boxes_have_no_reading(detected: Batch) -> None:
    boxes = [detected.columns["text_boxes.boxes"][0], None, "[]"]
    columns = ready("ppocr").score(
        Batch(detected.uids, detected.captions, detected.meta, detected.images, {"text_boxes.boxes": boxes})
    )
    assert columns["text"][1:] == [None, ""]
    assert columns["num_words"].tolist() == [4, -1, 0]
    np.testing.assert_array_equal(np.isnan(columns["overlap"]), [False, True, False])


def test_reading_order_goes_by_lines() -> None:
    def box(x: float, y: float) -> np.ndarray:
        return np.array([[x, y], [x + 40, y], [x + 40, y + 20], [x, y + 20]], np.float32)

    shuffled = [box(60, 33), box(110, 4), box(0, 30), box(60, 0), box(5, 6)]
    assert [tuple(b[0]) for b in reading_order(shuffled)] == [(5, 6), (60, 0), (110, 4), (0, 30), (60, 33)]


def test_an_unknown_recogniser_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="crnn, ppocr"):
        Ocr(recogniser="ppocrr").identity()
