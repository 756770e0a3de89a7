from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.tasks.retrieval import Retrieval
from winnow.errors import UserError


def test_a_perfect_system(colour_captions: Path, colour_embedder: Any) -> None:
    result = Retrieval(path=str(colour_captions), size=4).evaluate(colour_embedder)
    assert result.metrics["main_metric"] == 1.0
    assert result.metrics["image_retrieval_recall@1"] == result.metrics["text_retrieval_recall@10"] == 1.0
    assert result.num_samples == 4
    assert result.rows["direction"].count("image_retrieval") == 8
    assert result.rows["direction"].count("text_retrieval") == 4


class Blind:
    """Gives every input one embedding."""

    def encode_images(self, images: list[Any]) -> np.ndarray:
        return np.ones((len(images), 1), np.float32)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 1), np.float32)


def test_a_blind_system_gets_chance(colour_captions: Path) -> None:
    result = Retrieval(path=str(colour_captions)).evaluate(Blind())
    assert result.metrics["image_retrieval_recall@1"] == pytest.approx(1 / 4)
    assert result.metrics["text_retrieval_recall@1"] == pytest.approx(2 / 8)
    assert result.metrics["main_metric"] == pytest.approx(1 / 4)


def test_rows_give_the_metrics_back(colour_captions: Path, colour_embedder: Any) -> None:
    result = Retrieval(path=str(colour_captions)).evaluate(colour_embedder)
    for direction in ("image_retrieval", "text_retrieval"):
        mine = np.array(result.rows["direction"]) == direction
        assert np.mean(np.array(result.rows["hit5"])[mine]) == result.metrics[f"{direction}_recall@5"]


def test_refuses_a_classification_folder(colour_classes: Path, colour_embedder: Any) -> None:
    with pytest.raises(UserError, match="dataset_type"):
        Retrieval(path=str(colour_classes)).evaluate(colour_embedder)
