import pytest

from filters.scorer import Batch
from filters.scorers.caption_stats import CaptionStats


def test_counts_by_hand() -> None:
    captions = ["A dog", "", "  10 10  go\tgo\n", "ß日本"]
    columns = CaptionStats().score(Batch(["0" * 32] * 4, captions, [{}] * 4, []))
    assert columns["num_chars"].tolist() == [5, 0, 15, 3]
    assert columns["num_words"].tolist() == [2, 0, 4, 1]
    assert columns["alpha_share"].tolist() == pytest.approx([4 / 5, 0, 4 / 15, 1])
    assert columns["digit_share"].tolist() == pytest.approx([0, 0, 4 / 15, 0])
    assert columns["upper_share"].tolist() == pytest.approx([1 / 5, 0, 0, 0])
    assert columns["unique_word_share"].tolist() == pytest.approx([1, 0, 1 / 2, 1])
