"""Read what models answered, example by example, from the per-example rows of a run's evaluations."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from winnow.journal import Journal
from winnow.storage import Store

__all__ = ["Outcomes", "read_outcomes"]


@dataclass
class Outcomes:
    """One recipe, task and metric: every model's outcome on every test picture. A model's score is its mean."""

    recipe: str
    task: str
    metric: str
    chance: float | None
    is_binary: bool
    """Whether an outcome is 1 for right and 0 for wrong."""
    examples: list[str]
    """(e,) keys of the test pictures."""
    by_subset: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    """Subset -> training seed -> (e,) outcomes."""

    def of(self, subset: str) -> NDArray[np.float64]:
        """Return (s, e) the outcomes of a subset's models, by seed."""
        return np.stack(list(self.by_subset[subset].values()))


def read_outcomes(run: Store, notes: list[str]) -> list[Outcomes]:
    """Return the outcomes of all tasks that have per-example rows, by recipe, task and metric.

    Args:
        run: the run's folder; the journal says which evaluations count.
        notes: gets a line for each model that was left out, because its test examples are others.
    """
    found: dict[tuple[str, str, str], Outcomes] = {}
    for row in Journal(run).under("eval/"):
        _, recipe, subset, seed = row.product.split("/")
        results = [json.loads(line) for line in run.read(f"{row.product}/results.jsonl").splitlines() if line.strip()]
        for result in results:
            task = str(result["key"])
            file = f"{row.product}/samples-{task}.parquet"
            if file not in row.files:
                continue
            table = pq.read_table(io.BytesIO(run.read(file)))
            for metric, examples, values in _metrics(table, result["metrics"]):
                chance = (result.get("notes") or {}).get("chance") if metric in ("accuracy", "recall@1") else None
                fresh = Outcomes(recipe, task, metric, chance, metric == "accuracy", examples)
                mine = found.setdefault((recipe, task, metric), fresh)
                if mine.examples != examples:
                    notes.append(f"{task}: {subset}, seed {seed} is left out, its test examples are others")
                    continue
                mine.by_subset.setdefault(subset, {})[seed] = values
    # recall@5 before recall@10: names of one length first
    return [found[name] for name in sorted(found, key=lambda name: (*name[:2], len(name[2]), name[2]))]


def _metrics(table: pa.Table, metrics: dict[str, Any]) -> Iterator[tuple[str, list[str], NDArray[np.float64]]]:
    """Yield (metric, examples, outcomes whose mean is the metric) of one model on one task."""
    if "correct" in table.column_names:
        correct = _numbers(table, "correct")
        examples = [str(key) for key in table["sample"].to_pylist()]
        yield "accuracy", examples, correct
        if metrics.get("main_metric") != metrics.get("acc1"):
            labels, size = np.unique(_numbers(table, "label"), return_inverse=True)[1], len(correct)
            weights = size / (labels.max() + 1) / np.bincount(labels)[labels]
            yield "mean per-class recall", examples, correct * weights
    elif "direction" in table.column_names:
        direction = np.array(table["direction"].to_pylist(), dtype=str)
        keys, picture = np.unique(np.array(table["sample"].to_pylist(), dtype=str), return_inverse=True)
        for column in table.column_names:
            if column.startswith("hit"):
                hits = _numbers(table, column)
                yield f"recall@{column[3:]}", keys.tolist(), _by_picture(hits, direction, picture, len(keys))


def _by_picture(
    hits: NDArray[np.float64], direction: NDArray[np.str_], picture: NDArray[np.intp], count: int
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
    """Return a column as floats."""
    return np.array(table[column].to_pylist(), dtype=np.float64)
