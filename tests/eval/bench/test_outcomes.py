import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.bench.outcomes import read_outcomes
from eval.metrics.accuracy import accuracy
from winnow.journal import Journal, Row
from winnow.storage import Store


def write(run: Path, subset: str, seed: int, task: str, rows: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Write one model's evaluation as the stage does."""
    folder = f"eval/clip/{subset}/{seed}"
    (run / folder).mkdir(parents=True, exist_ok=True)
    result = {"key": task, "metrics": metrics, "notes": {"chance": 0.5}}
    (run / folder / "results.jsonl").write_text(json.dumps(result) + "\n")
    pq.write_table(pa.table(rows), run / folder / f"samples-{task}.parquet")
    files = {}
    for name in ("results.jsonl", f"samples-{task}.parquet"):
        content = (run / folder / name).read_bytes()
        files[f"{folder}/{name}"] = (len(content), hashlib.sha256(content).hexdigest())
    Journal(Store(run)).append(Row(product=folder, key="k", files=files))


def test_accuracy_and_mean_per_class_recall(tmp_path: Path) -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    keys = [f"s{number}" for number in range(6)]
    for seed, predictions in enumerate(([0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 0, 0])):
        top = np.stack([predictions, *[np.zeros(6, int)] * 4], axis=1)
        metrics = accuracy(top, labels) | {"main_metric": None}
        rows = {"sample": keys, "label": labels.tolist(), "correct": (np.array(predictions) == labels).tolist()}
        write(tmp_path, "tmars", seed, "colors", rows, metrics)
        if seed == 0:
            first = metrics
    found = {item.metric: item for item in read_outcomes(Store(tmp_path), [])}
    assert found["accuracy"].is_binary
    assert found["accuracy"].chance == 0.5
    assert found["accuracy"].of("tmars").mean(axis=1) == pytest.approx([5 / 6, 2 / 6])
    assert found["accuracy"].of("tmars").mean(axis=1)[0] == pytest.approx(first["acc1"])
    assert found["mean per-class recall"].of("tmars").mean(axis=1)[0] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert first["mean_per_class_recall"] == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_recall_is_the_mean_of_both_directions(tmp_path: Path) -> None:
    """Two pictures, the second with three captions; a picture's captions and the picture itself are one example."""
    rows = {
        "direction": ["image_retrieval"] * 4 + ["text_retrieval"] * 2,
        "sample": ["a", "b", "b", "b", "a", "b"],
        "query": ["a1", "b1", "b2", "b3", "a", "b"],
        "hit1": [1.0, 0.0, 1.0, 0.5, 0.0, 1.0],
        "hit5": [1.0] * 6,
    }
    write(tmp_path, "tmars", 0, "retrieval", rows, {"main_metric": 0.5625})
    found = {item.metric: item for item in read_outcomes(Store(tmp_path), [])}
    assert set(found) == {"recall@1", "recall@5"}
    one = found["recall@1"]
    assert one.examples == ["a", "b"]
    assert one.of("tmars").mean() == pytest.approx(((1 + 0 + 1 + 0.5) / 4 + (0 + 1) / 2) / 2)
    # by hand: a has 1 of 2.5 hits of 4 captions and misses as a query, b has 1.5 and hits
    assert one.of("tmars")[0] == pytest.approx([2 * (1 / 4) / 2, 2 * (1.5 / 4 + 1 / 2) / 2])
    assert found["recall@5"].of("tmars").mean() == pytest.approx(1.0)
    assert not one.is_binary


def test_other_examples_and_tasks_without_examples_are_left_out(tmp_path: Path) -> None:
    metrics = {"acc1": 0.5, "main_metric": 0.5}
    rows = {"sample": ["a", "b"], "label": [0, 1], "correct": [True, False]}
    write(tmp_path, "tmars", 0, "colors", rows, metrics)
    write(tmp_path, "other", 0, "colors", rows | {"sample": ["a", "c"]}, metrics)
    notes: list[str] = []
    (found,) = read_outcomes(Store(tmp_path), notes)
    assert set(found.by_subset) == {"other"} or set(found.by_subset) == {"tmars"}
    assert len(notes) == 1
    Journal(Store(tmp_path)).forget("eval/clip/other/0")
    notes = []
    (found,) = read_outcomes(Store(tmp_path), notes)
    assert set(found.by_subset) == {"tmars"}
    assert not notes, "what the journal does not know does not count"
