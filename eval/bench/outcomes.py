"""Read what models answered, example by example, from the per-example rows of a run's evaluations."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eval.outcomes import outcomes_of
from winnow.filenames import file_name, name_of
from winnow.journal import Journal
from winnow.storage import Store

__all__ = ["Outcomes", "read_outcomes"]

WORDS = {"acc1": "accuracy", "mean_per_class_recall": "mean per-class recall"}


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
        recipe, subset, seed = map(name_of, row.product.split("/")[1:])
        results = [json.loads(line) for line in run.read(f"{row.product}/results.jsonl").splitlines() if line.strip()]
        for result in results:
            task = str(result["key"])
            file = f"{row.product}/samples-{file_name(task)}.parquet"
            if file not in row.files:
                continue
            table = pq.read_table(io.BytesIO(run.read(file)))
            for metric, examples, values in _metrics(table, result.get("main_metric_name", "")):
                chance = (result.get("notes") or {}).get("chance") if metric in ("accuracy", "recall@1") else None
                fresh = Outcomes(recipe, task, metric, chance, metric == "accuracy", examples)
                mine = found.setdefault((recipe, task, metric), fresh)
                if mine.examples != examples:
                    notes.append(f"{task}: {subset}, seed {seed} is left out, its test examples are others")
                    continue
                mine.by_subset.setdefault(subset, {})[seed] = values
    # recall@5 before recall@10: names of one length first
    return [found[name] for name in sorted(found, key=lambda name: (*name[:2], len(name[2]), name[2]))]


def _metrics(table: pa.Table, main: str) -> Iterator[tuple[str, list[str], NDArray[np.float64]]]:
    """Yield (metric, examples, outcomes whose mean is the metric) of one model on one task.

    Mean per-class recall is left out where all classes have as many examples, so that it is accuracy, unless it is the
    task's main metric. No value has a say in this: all models of a task stand in the same tables.
    """
    for name, outcome in outcomes_of(table).items():
        sizes = set() if outcome.classes is None else set(np.unique(outcome.classes, return_counts=True)[1].tolist())
        if len(sizes) != 1 or name == main:
            yield WORDS.get(name, name.removeprefix("mean_")), outcome.examples, outcome.weighted()
