"""What per-example rows say of a model: for each metric the outcome of every test example, whose mean is the metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eval.finite import require_finite

__all__ = ["Outcome", "outcomes_of", "per_picture"]


@dataclass(frozen=True)
class Outcome:
    """One model, one task, one metric."""

    examples: list[str]
    """(e,) keys of the test pictures."""
    values: NDArray[np.float64]
    """(e,) outcomes in [0, 1]; of retrieval a picture's part may lie above 1 where it has many captions."""
    classes: NDArray[np.int64] | None
    """(e,) class of each example where all classes weigh the same in the metric, None where all examples do."""
    is_binary: bool
    """Whether an outcome is 1 for right and 0 for wrong."""

    def weighted(self) -> NDArray[np.float64]:
        """Return (e,) outcomes whose plain mean is the metric."""
        if self.classes is None:
            return self.values
        labels = np.unique(self.classes, return_inverse=True)[1]
        sizes = np.bincount(labels)
        weighted: NDArray[np.float64] = self.values * (len(self.values) / len(sizes) / sizes[labels])
        return weighted


def outcomes_of(table: pa.Table) -> dict[str, Outcome]:
    """Return the outcomes by the metric's name in results.jsonl, {} for rows that are no outcomes.

    Args:
        table: columns `sample`, `label` and `correct` of a classification, or `sample`, `direction` and `hit<k>` of a
            retrieval.

    Raises:
        NotFiniteError: an outcome is null, NaN or infinite.
    """
    if "correct" in table.column_names:
        examples = [str(key) for key in table["sample"].to_pylist()]
        correct, labels = _numbers(table, "correct"), _numbers(table, "label").astype(np.int64)
        return {
            "acc1": Outcome(examples, correct, None, True),
            "mean_per_class_recall": Outcome(examples, correct, labels, True),
        }
    if "direction" not in table.column_names:
        return {}
    direction = np.array(table["direction"].to_pylist(), dtype=str)
    keys, picture = np.unique(np.array(table["sample"].to_pylist(), dtype=str), return_inverse=True)
    return {
        f"mean_recall@{column[3:]}": Outcome(
            keys.tolist(), per_picture(_numbers(table, column), direction, picture, len(keys)), None, False
        )
        for column in table.column_names
        if column.startswith("hit")
    }


def per_picture(
    hits: NDArray[np.float64], direction: NDArray[np.str_], picture: NDArray[np.integer], count: int
) -> NDArray[np.float64]:
    """Return each picture's part in the mean of both directions' recalls, times the number of pictures.

    A picture is found by its captions and finds them: these outcomes move together, and pictures are what to resample.

    Args:
        hits: (q,) in [0, 1], of queries in both directions.
        direction: (q,) which one.
        picture: (q,) row of the picture that the query belongs to.
        count: number of pictures.
    """
    directions: Sequence[str] = np.unique(direction).tolist()
    out = np.zeros(count)
    for name in directions:
        mine = direction == name
        share = count / len(directions) / mine.sum()
        out += share * np.bincount(picture[mine], weights=hits[mine], minlength=count)
    return out


def _numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    """Return a column as floats, none of them NaN or infinite."""
    values = np.array(table[column].to_pylist(), dtype=np.float64)
    require_finite(values, table["sample"].to_pylist(), f"values of {column}")
    return values
