import numpy as np
import pytest

from eval.extractors.inception import Inception, _same_size
from winnow.errors import UserError


def test_says_which_weights_are_missing() -> None:
    with pytest.raises(UserError, match="efficientnet_lite0"):
        Inception(weights="nowhere.pth").extract([np.zeros((8, 8, 3), np.uint8)])


def test_groups_keep_order_and_size() -> None:
    images = [np.full((size, 8, 3), number, np.uint8) for number, size in enumerate((8, 8, 8, 9, 8))]
    groups = _same_size(images, 2)
    assert [[int(image[0, 0, 0]) for image in group] for group in groups] == [[0, 1], [2], [3], [4]]
