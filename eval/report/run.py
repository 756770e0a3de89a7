"""Read what a report says about trained models: results, paired differences, curves, sample grids."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from eval.outcomes import Outcome, outcomes_of
from eval.report.data import Comparison, Curve, Grid, ReportData, Result, mean_results
from eval.statistics import Estimate, bootstrap, mcnemar, stratified_bootstrap
from winnow.errors import UserError
from winnow.filenames import file_name, name_of
from winnow.journal import Journal
from winnow.storage import Store

__all__ = ["compare", "curves", "grids", "main_metrics", "read_results", "result_lines"]

UNREADABLE = (UserError, OSError, ValueError, KeyError, pa.ArrowInvalid)
MAX_POINTS = 400
DRAWS = 10_000
"""Of an interval: with twenty comparisons of a task its ends are the 12th and the 12th last."""


def result_lines(run: Store) -> list[str]:
    """Return every line of the results of a run's models, sorted: the content of RUN/results.jsonl."""
    lines: list[str] = []
    for row in Journal(run).under("eval/"):
        for name in sorted(row.files):
            if name.endswith("/results.jsonl") and run.exists(name):
                lines += [line for line in run.read(name).decode("utf-8").splitlines() if line.strip()]
    return sorted(lines)


def read_results(run: Store, notes: list[str]) -> list[Result]:
    """Return the results, by system, task and subset."""
    out = []
    for line in result_lines(run):
        try:
            row = json.loads(line)
            row["metrics"] = {name: _finite(value) for name, value in row["metrics"].items()}
            value, limits = row["metrics"]["main_metric"], row.get("interval")
            if value is None and (row.get("notes") or {}).get("not_finite"):
                notes.append(f"{row['key']} of {row['system']} on {row['subset']}: {row['notes']['not_finite']}")
            interval = Estimate(value, *limits) if limits and value is not None else None
            out.append(
                Result(
                    system=str(row["system"]),
                    subset=str(row["subset"]),
                    seed=str(row["seed"]),
                    task=str(row["key"]),
                    metrics=dict(row["metrics"]),
                    num_samples=int(row["num_samples"]),
                    interval=interval,
                    samples_seen=row.get("samples_seen"),
                    notes=row.get("notes") or {},
                    main_metric=str(row.get("main_metric_name") or ""),
                )
            )
        except UNREADABLE as error:
            notes.append(f"a line of results.jsonl: {type(error).__name__} {error}")
    return sorted(out, key=lambda result: (result.system, result.task, result.subset, result.seed))


def _finite(value: float | None) -> float | None:
    """Return a metric, None for one that is no number: results of other versions may hold NaN."""
    return value if value is not None and np.isfinite(value) else None


def compare(run: Store, data: ReportData) -> list[Comparison]:
    """Return every filter against no_filter, the random subset of its size and the best filter, paired by example.

    The intervals of one recipe and task hold together at 95 %: each of m comparisons is made at 1 - 0.05 / m.
    """
    out = []
    for system, task in sorted({(result.system, result.task) for result in data.results}):
        mine = [result for result in data.results if (result.system, result.task) == (system, task)]
        seeds = {r.subset: sorted(other.seed for other in mine if other.subset == r.subset) for r in mine}
        names = main_metrics(mine)
        pairs = _pairs(data, mine)
        for first, second in pairs:
            shared = sorted(set(seeds[first]) & set(seeds[second]))
            found = _difference(run, system, task, names, (first, second), shared, 0.05 / len(pairs), data.notes)
            if found is not None:
                out.append(Comparison(system, task, first, second, *found, len(shared)))
    return out


def main_metrics(results: Sequence[Result]) -> list[str]:
    """Return the name of the metric by which a task's models are compared.

    Args:
        results: all of one task. Versions before 0.3 did not write the name: it is then what agrees with the main
            metric in every model, and several names are returned only where all models agree in all of them.
    """
    named = {result.main_metric for result in results if result.main_metric}
    if named:
        return sorted(named)
    names = [name for name in results[0].metrics if name != "main_metric"]
    return [name for name in names if all(r.metrics.get(name) == r.metrics.get("main_metric") for r in results)]


def _pairs(data: ReportData, results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return what is compared: filters and random subsets with no_filter, filters with their control and the best."""
    subsets = sorted({result.subset for result in results} - {"no_filter"})
    pairs = []
    for first in subsets:
        rivals = ["no_filter", None if data.is_control(first) else data.control(first)]
        pairs += [(first, r) for r in rivals if r is not None and any(result.subset == r for result in results)]
    filters = [result.subset for result in mean_results(results) if not data.is_control(result.subset)]
    return pairs + [(filters[0], other) for other in sorted(filters[1:])]


def _difference(
    run: Store,
    system: str,
    task: str,
    metrics: Sequence[str],
    pair: tuple[str, str],
    seeds: Sequence[str],
    level: float,
    notes: list[str],
) -> tuple[Estimate, float | None] | None:
    """Return the difference of two subsets' main metrics, outcomes averaged over the shared seeds."""
    sides: list[list[Outcome]] = []
    for subset in pair:
        try:
            folder, file = f"eval/{file_name(system)}/{file_name(subset)}", f"samples-{file_name(task)}.parquet"
            names = [f"{folder}/{seed}/{file}" for seed in seeds]
            found = [outcomes_of(pq.read_table(io.BytesIO(run.read(name)))) for name in names]
        except UNREADABLE as error:
            notes.append(f"no paired test of {pair[0]} and {pair[1]} on {task}: {error}")
            return None
        metric = next((name for name in metrics if all(name in each for each in found)), "")
        sides.append([each[metric] for each in found if metric and each[metric].examples])
    if not all(sides):
        return None  # no shared seed, or a metric of the whole set: a distance has no outcome for one example
    head = sides[0][0]
    if any(outcome.examples != head.examples for side in sides for outcome in side):
        notes.append(f"no paired test of {pair[0]} and {pair[1]} on {task}: their test examples differ")
        return None
    first, second = (np.mean([outcome.values for outcome in side], axis=0) for side in sides)
    if head.classes is not None:
        return stratified_bootstrap(first - second, head.classes, (-1, 1), level, DRAWS), None
    difference = bootstrap(first - second, (-1, 1), level, DRAWS)
    if not head.is_binary or len(seeds) > 1:
        return difference, None
    p_value = mcnemar(first > 0.5, second > 0.5)
    if p_value > level:  # the interval says no more than the exact test
        difference = replace(difference, low=min(difference.low, 0.0), high=max(difference.high, 0.0))
    return difference, p_value


def curves(run: Store, notes: list[str]) -> list[Curve]:
    """Return the losses of every training run in the journal."""
    out = []
    for row in Journal(run).under("train/"):
        parts = row.product.split("/")
        name = f"{row.product}/metrics.jsonl"
        if len(parts) != 4 or not run.exists(name):
            continue
        try:
            lines = [json.loads(line) for line in run.read(name).decode().splitlines() if line.strip()]
        except ValueError as error:
            notes.append(f"{name}: {error}")
            continue
        key = next((key for key in lines[0] if key.endswith("loss")), None) if lines else None
        lines = [line for line in lines if key in line and "samples_seen" in line]
        if key is not None and len(lines) > 1:
            step = -(-len(lines) // MAX_POINTS)
            subset = name_of(parts[2])
            label = subset if parts[3] == "0" else f"{subset}, seed {parts[3]}"
            x, y = ([float(line[k]) for line in lines[::step]] for k in ("samples_seen", key))
            out.append(Curve(name_of(parts[1]), subset, label, x, y))
    return out


def grids(run: Store, data: ReportData) -> list[Grid]:
    """Return the sample grids of the generative systems."""
    out = []
    for result in data.results:
        folder = f"eval/{file_name(result.system)}/{file_name(result.subset)}/{result.seed}"
        name = f"{folder}/{file_name(result.task)}-grid.png"
        if "prompts" in result.notes and run.exists(name):
            captions = [str(text) for text in result.notes["prompts"]]
            columns = int(result.notes.get("columns") or np.ceil(np.sqrt(len(captions))))
            label = result.subset if result.seed == "0" else f"{result.subset}, seed {result.seed}"
            out.append(Grid(label, result.task, _png_uri(run.read(name)), captions, columns))
    return out


def _png_uri(data: bytes) -> str:
    """Return a grid as a data: URI, enlarged by whole factors so that browsers need not blur small pictures."""
    image: Any = Image.open(io.BytesIO(data)).convert("RGB")
    factor = max(1, 360 // image.width)
    file = io.BytesIO()
    image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(file, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
