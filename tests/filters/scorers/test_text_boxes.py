import json

import numpy as np
import pytest

from filters.scorer import Batch
from filters.scorers.text_boxes import TextBoxes
from filters.text.masking import covered
from winnow.errors import UserError


def batch(*images: np.ndarray) -> Batch:
    n = len(images)
    return Batch(["0" * 32] * n, ["a"] * n, [{}] * n, list(images))


@pytest.fixture(scope="module")
def scorer() -> TextBoxes:
    scorer = TextBoxes(detector={"use": "ppocr", "threads": 2})
    scorer.setup()
    return scorer


def test_both_lines_are_found_where_they_are(scorer: TextBoxes, text_picture: np.ndarray) -> None:
    columns = scorer.score(batch(text_picture, np.full_like(text_picture, 128)))
    assert columns["num_boxes"].tolist() == [2, 0]
    first, second = sorted((np.array(b) for b in json.loads(columns["boxes"][0])), key=lambda b: b[:, 1].mean())
    for box, left, top, right, bottom in [(first, 20, 32, 145, 62), (second, 60, 122, 175, 158)]:
        np.testing.assert_allclose([*box.min(axis=0), *box.max(axis=0)], [left, top, right, bottom], atol=14)
    area = covered(text_picture.shape[:2], [first, second])
    assert columns["area_share"].tolist() == pytest.approx([area, 0.0])
    assert json.loads(columns["boxes"][1]) == []


def test_boxes_below_the_least_size_are_dropped(text_picture: np.ndarray) -> None:
    scorer = TextBoxes(detector={"use": "ppocr", "threads": 2}, min_size=1000)
    scorer.setup()
    assert scorer.score(batch(text_picture))["num_boxes"].tolist() == [0]


@pytest.mark.parametrize("shape", [(1, 1), (8, 20), (31, 5), (16, 300), (300, 9)])
def test_tiny_pictures_do_no_harm(scorer: TextBoxes, shape: tuple[int, int]) -> None:
    columns = scorer.score(batch(np.full((*shape, 3), 200, np.uint8)))
    assert columns["area_share"][0] <= 1


def test_boxes_of_enlarged_pictures_are_in_original_pixels(text_picture: np.ndarray) -> None:
    plain, large = (TextBoxes(detector={"use": "ppocr", "threads": 2}, enlarge_below=n) for n in (32, 512))
    found = []
    for scorer in (plain, large):
        scorer.setup()
        found.append(scorer.score(batch(text_picture))["area_share"][0])
    assert found[0] == pytest.approx(found[1], rel=0.25)


def test_an_unknown_detector_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="craft, ppocr"):
        TextBoxes(detector="ppocrr").identity()
