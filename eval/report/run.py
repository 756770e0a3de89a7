"""Read what a report says about trained models: results, paired differences, curves, sample grids."""

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from eval.report.data import Comparison, Curve, Grid, ReportData, Result
from eval.statistics import Estimate, bootstrap, mcnemar, stratified_bootstrap
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.storage import Store

__all__ = ["compare", "curves", "grids", "read_results", "result_lines"]

UNREADABLE = (UserError, OSError, ValueError, KeyError, pa.ArrowInvalid)
Parts = list[tuple[NDArray[np.float64], NDArray[np.object_]]]
MAX_POINTS = 400


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
            value, limits = row["metrics"]["main_metric"], row.get("interval")
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
                )
            )
        except UNREADABLE as error:
            notes.append(f"a line of results.jsonl: {type(error).__name__} {error}")
    return sorted(out, key=lambda result: (result.system, result.task, result.subset, result.seed))


def compare(run: Store, data: ReportData) -> list[Comparison]:
    """Return every filter against no_filter and against the random subset of its size, paired by example."""
    out = []
    groups = sorted({(result.system, result.task) for result in data.results})
    for system, task in groups:
        mine = [result for result in data.results if (result.system, result.task) == (system, task)]
        subsets = sorted({result.subset for result in mine})
        seeds = {name: sorted(r.seed for r in mine if r.subset == name) for name in subsets}
        for first in subsets:
            if first == "no_filter":
                continue
            rivals = [] if data.is_random(first) else [data.control(first)]
            for second in ["no_filter", *rivals]:
                if second not in subsets or second is None:
                    continue
                shared = sorted(set(seeds[first]) & set(seeds[second]))
                found = _difference(run, system, task, first, second, shared, data.notes)
                if found is not None:
                    out.append(Comparison(system, task, first, second, *found, len(shared)))
    return out


def _difference(
    run: Store, system: str, task: str, first: str, second: str, seeds: Sequence[str], notes: list[str]
) -> tuple[Estimate, float | None] | None:
    """Return the difference of two subsets' main metrics, examples averaged over the shared seeds."""
    tables = []
    for subset in (first, second):
        try:
            names = [f"eval/{system}/{subset}/{seed}/samples-{task}.parquet" for seed in seeds]
            tables.append([pq.read_table(io.BytesIO(run.read(name))) for name in names])
        except UNREADABLE as error:
            notes.append(f"no paired test of {first} and {second} on {task}: {error}")
            return None
    if not tables[0] or not tables[0][0].num_rows:
        return None
    head = tables[0][0]
    if any(table["sample"] != head["sample"] for side in tables for table in side):
        notes.append(f"no paired test of {first} and {second} on {task}: their test examples differ")
        return None
    if "correct" in head.column_names:
        sides = [np.mean([_numbers(table, "correct") for table in side], axis=0) for side in tables]
        change = sides[0] - sides[1]
        p_value = mcnemar(sides[0] > 0.5, sides[1] > 0.5) if len(seeds) == 1 else None
        if _is_per_class(run, system, first, seeds[0], task):
            return stratified_bootstrap(change, np.array(head["label"].to_pylist())), p_value
        return bootstrap([(change, np.arange(len(change)))]), p_value
    if "direction" in head.column_names:
        sides = [np.mean([_numbers(table, "hit1") for table in side], axis=0) for side in tables]
        change, direction = sides[0] - sides[1], np.array(head["direction"].to_pylist(), object)
        sample = np.unique(np.array(head["sample"].to_pylist(), str), return_inverse=True)[1]
        parts = [(change[direction == name], sample[direction == name]) for name in sorted(set(direction))]
        return bootstrap(parts), None
    return None


def _is_per_class(run: Store, system: str, subset: str, seed: str, task: str) -> bool:
    """Tell whether the main metric weighs classes equally."""
    for line in run.read(f"eval/{system}/{subset}/{seed}/results.jsonl").decode("utf-8").splitlines():
        metrics = json.loads(line)["metrics"] if json.loads(line)["key"] == task else {}
        if metrics and metrics["main_metric"] != metrics.get("acc1"):
            return True
    return False


def _numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    """Return a column as floats."""
    return np.array(table[column].to_pylist(), dtype=np.float64)


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
            label = parts[2] if parts[3] == "0" else f"{parts[2]}, seed {parts[3]}"
            x, y = ([float(line[k]) for line in lines[::step]] for k in ("samples_seen", key))
            out.append(Curve(parts[1], label, x, y))
    return out


def grids(run: Store, data: ReportData) -> list[Grid]:
    """Return the sample grids of the generative systems."""
    out = []
    for result in data.results:
        name = f"eval/{result.system}/{result.subset}/{result.seed}/{result.task}-grid.png"
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
