"""Paired differences of runs on disk: of the main metric by its name, with intervals that agree with the exact test."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.report.data import Comparison, ReportData, Result, StrategyRow
from eval.report.headline import headline
from eval.report.run import compare, main_metrics
from eval.statistics import Estimate
from winnow.storage import Store


def compared(
    folder: Path, correct: dict[str, Any], labels: Any, main: str = "acc1", *, named: bool = True
) -> tuple[ReportData, list[Comparison]]:
    """Write what models answered and compare them as the report does."""
    labels, results = np.asarray(labels), []
    for subset, answers in correct.items():
        right = np.asarray(answers, bool)
        classes = [float(right[labels == label].mean()) for label in np.unique(labels)]
        metrics = {"acc1": float(right.mean()), "mean_per_class_recall": float(np.mean(classes))}
        metrics["main_metric"] = metrics[main]
        rows = {"sample": [str(i) for i in range(len(right))], "label": labels.tolist(), "correct": right.tolist()}
        file = io.BytesIO()
        pq.write_table(pa.table(rows), file)
        Store(folder).write(f"eval/clip/{subset}/0/samples-t.parquet", file.getvalue())
        interval = Estimate(metrics[main], 0.9 * metrics[main], metrics[main])
        results.append(Result("clip", subset, "0", "t", metrics, len(right), interval, 1, {}, main if named else ""))
    rows_of = [StrategyRow(name, 9, 9, 20, {}, name.startswith("random")) for name in correct]
    data = ReportData("t", "c", strategies=rows_of, results=results)
    data.comparisons = compare(Store(folder), data)
    return data, data.comparisons


RARE = [0] * 90 + [1] * 10


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("first", [[True] * 100, [False] + [True] * 99])
def test_the_difference_is_that_of_the_main_metric(tmp_path: Path, first: list[bool], named: bool) -> None:
    """A filter that is all right, so that its accuracy and recall are equal, against one that fails the rare class."""
    answers = {"fine": first, "no_filter": [True] * 90 + [False] * 10}
    data, (found,) = compared(tmp_path, answers, RARE, "mean_per_class_recall", named=named)
    recalls = {result.subset: result.metrics["main_metric"] for result in data.results}
    assert found.difference.value == pytest.approx(recalls["fine"] - recalls["no_filter"])  # type: ignore[operator]
    assert found.difference.value == pytest.approx(0.5, abs=0.01)
    assert found.p_value is None, "McNemar's test is one of accuracy"
    assert found.difference.low < found.difference.value < found.difference.high


def test_a_name_decides_where_values_agree(tmp_path: Path) -> None:
    data, _ = compared(tmp_path, {"fine": [True] * 4, "no_filter": [False] * 4}, [0, 0, 0, 1])
    assert main_metrics(data.results) == ["acc1"]
    one = [Result("clip", "a", "0", "t", {"acc1": 0.5, "main_metric": 0.5}, 4, None, 1, {}, "mean_per_class_recall")]
    assert main_metrics(one) == ["mean_per_class_recall"]


def test_four_examples_prove_nothing(tmp_path: Path) -> None:
    data, (found,) = compared(tmp_path, {"fine": [True] * 4, "no_filter": [False] * 4}, [0] * 4)
    assert found.p_value == pytest.approx(0.125)
    assert found.difference.low <= 0
    top = headline(data)
    assert top is not None
    assert top.sentence == "fine is the only filter on t; it is not shown to beat no_filter."


@pytest.mark.parametrize("seed", range(12))
def test_interval_and_exact_test_never_contradict(tmp_path: Path, seed: int) -> None:
    """Where McNemar finds nothing at the table's level, no interval claims a difference."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 60))
    answers = {name: rng.random(size) < level for name, level in {"a": 0.9, "b": 0.7, "no_filter": 0.5}.items()}
    _, found = compared(tmp_path, answers, rng.integers(0, 3, size))
    assert {(c.first, c.second) for c in found} >= {("a", "no_filter"), ("b", "no_filter")}
    for comparison in found:
        assert comparison.p_value is not None
        assert comparison.p_value <= 0.05 / len(found) or not comparison.difference.excludes_zero


def test_filters_are_compared_with_the_best_controls_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = {"a": 0.7, "b": 0.69, "no_filter": 0.5, "random_a": 0.9}
    answers = {name: rng.random(400) < level for name, level in levels.items()}
    data, found = compared(tmp_path, answers, [0] * 400)
    pairs = {(c.first, c.second) for c in found}
    best = max("ab", key=lambda name: answers[name].mean())
    other = "ab".replace(best, "")
    assert pairs == {
        ("a", "no_filter"),
        ("b", "no_filter"),
        ("random_a", "no_filter"),
        ("a", "random_a"),
        ("b", "random_a"),
        (best, other),
    }
    top = headline(data)
    assert top is not None
    assert top.leaders == [best, other]
    assert "cannot be told apart on t; both beat no_filter, but" in top.sentence


def test_results_without_that_outcome_are_not_compared_by_another(tmp_path: Path) -> None:
    data, _ = compared(tmp_path, {"fine": [True] * 9, "no_filter": [False] * 9}, [0] * 9)
    named = [Result(*(getattr(r, f) for f in r.__match_args__[:-1]), "recall@7") for r in data.results]
    data.results = named
    assert compare(Store(tmp_path), data) == []


def test_results_on_disk_say_their_main_metric(tmp_path: Path) -> None:
    from eval.report.run import read_results
    from winnow.journal import Journal, Row

    row = {"key": "t", "system": "clip", "subset": "a", "seed": 0, "num_samples": 3, "metrics": {"main_metric": 0.5}}
    content = (json.dumps(row | {"main_metric_name": "acc1"}) + "\n" + json.dumps(row) + "\n").encode()
    store = Store(tmp_path)
    store.write("eval/clip/a/0/results.jsonl", content)
    files = {"eval/clip/a/0/results.jsonl": (len(content), "x")}
    Journal(store).append(Row(product="eval/clip/a/0", key="k", files=files))
    assert sorted(result.main_metric for result in read_results(store, [])) == ["", "acc1"]
