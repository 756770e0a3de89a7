"""A NaN or an infinity, put anywhere, never becomes a metric."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.finite import NotFiniteError, require_finite
from eval.metrics.frechet_distance import frechet_distance
from eval.metrics.kernel_distance import kernel_distance
from eval.metrics.recall_at_k import recall_at_k
from eval.outcomes import outcomes_of
from eval.tasks.retrieval import Retrieval
from eval.tasks.zeroshot import ZeroShot

BAD = st.sampled_from([np.nan, np.inf, -np.inf])
METRICS: dict[str, Callable[[Any, Any], Any]] = {
    "recall_at_k": lambda a, b: recall_at_k(a, b, np.arange(len(b)), (1,)),
    "frechet_distance": frechet_distance,
    "kernel_distance": kernel_distance,
}


@pytest.mark.parametrize("name", METRICS)
@given(value=BAD, side=st.integers(0, 1), row=st.integers(0, 5), column=st.integers(0, 3))
def test_no_metric_of_a_poisoned_array(name: str, value: float, side: int, row: int, column: int) -> None:
    rng = np.random.default_rng(0)
    sides = [rng.normal(size=(6, 4)).astype(np.float32) for _ in range(2)]
    METRICS[name](*sides)
    sides[side][row, column] = value
    with pytest.raises(NotFiniteError, match=rf"1 of 6 .* \({row}\)"):
        METRICS[name](*sides)


class Poisoned:
    """Spoils one number of what an embedder returns."""

    def __init__(self, inner: Any, part: str, row: int, value: float) -> None:
        self.inner, self.part, self.row, self.value = inner, part, row, value

    def encode_images(self, images: list[Any]) -> Any:
        return self._spoil("images", self.inner.encode_images(images))

    def encode_texts(self, texts: list[str]) -> Any:
        return self._spoil("texts", self.inner.encode_texts(texts))

    def _spoil(self, part: str, features: Any) -> Any:
        if part == self.part:
            features[self.row % len(features), 1] = self.value
        return features


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["images", "texts"])
@pytest.mark.parametrize("row", range(8))
def test_no_task_measures_a_poisoned_embedder(
    part: str, row: int, value: float, colour_classes: Path, colour_embedder: Any
) -> None:
    with pytest.raises(NotFiniteError, match="1 of"):
        ZeroShot(path=str(colour_classes)).evaluate(Poisoned(colour_embedder, part, row, value))


@pytest.mark.parametrize("part", ["images", "texts"])
@pytest.mark.parametrize("row", range(8))
def test_no_recall_of_a_poisoned_embedder(part: str, row: int, colour_captions: Path, colour_embedder: Any) -> None:
    with pytest.raises(NotFiniteError, match=f"1 of . embeddings of {'pictures' if part == 'images' else 'captions'}"):
        Retrieval(path=str(colour_captions)).evaluate(Poisoned(colour_embedder, part, row, np.nan))


def test_an_embedding_of_length_zero_has_no_direction(colour_classes: Path, colour_embedder: Any) -> None:
    class Zero(Poisoned):
        def encode_texts(self, texts: list[str]) -> Any:
            return 0 * self.inner.encode_texts(texts)

    with pytest.raises(NotFiniteError, match="4 of 4 mean embeddings of classes"), np.errstate(invalid="ignore"):
        ZeroShot(path=str(colour_classes)).evaluate(Zero(colour_embedder, "", 0, 0.0))


def test_the_count_and_the_first_keys_are_named() -> None:
    values = np.zeros((9, 2, 3))
    values[[2, 4, 5, 8], 1, 2] = np.nan
    with pytest.raises(NotFiniteError, match=r"4 of 9 pictures hold NaN or infinity \(k2, k4, k5, \.\.\.\)"):
        require_finite(values, [f"k{row}" for row in range(9)], "pictures")


@given(BAD | st.none(), st.integers(0, 3))
def test_outcomes_on_disk_are_numbers(value: float | None, row: int) -> None:
    hits: list[float | None] = [1.0, 0.0, 0.5, 1.0]
    hits[row] = value
    table = pa.table({"direction": ["a", "a", "b", "b"], "sample": ["x", "y", "x", "y"], "hit1": hits})
    with pytest.raises(NotFiniteError, match="values of hit1"):
        outcomes_of(table)
