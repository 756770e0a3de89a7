"""Predict a run from one of a quarter of its size, run it, and print how far the prediction was off, stage by stage.

    python -m benchmarks.plan_error [--samples 600] [--executor inline] [--rates]

Both runs are loops on WebNoise up to the resharded subsets: a web server that misbehaves, a download, a CLIP of a few
layers and cheap scorers, three strategies. Times are those of a clock: where the machine's load changes between the
runs, the error is the load's. `--rates` prints the rates that both runs together give, and those of single scorers, in
the form of `pipeline/planning/reference_rates.yaml`.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
import yaml

from pipeline.config import RunConfig
from pipeline.planning.cost import fit
from pipeline.planning.forecast import plan
from pipeline.planning.measured import Measured, measure
from pipeline.runner import run_stage
from winnow.openclip import create_clip

__all__ = ["main"]

MODEL = Path(__file__).parents[1] / "configs/models/winnow-tiny.json"
GROWTH = 4
SCORERS: dict[str, dict[str, Any]] = {
    "caption_stats": {},
    "image_stats": {},
    "phash": {},
    "language": {},
    "text_boxes": {"detector": {"use": "ppocr", "max_side": 160}},
}
"""Scorers whose rates are measured one by one, with their fields."""


def main() -> None:
    """Run at two sizes and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=600, help="of the smaller run")
    parser.add_argument("--executor", default="inline", choices=("inline", "process", "ray"))
    parser.add_argument("--rates", action="store_true", help="print the fitted rates too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        torch.manual_seed(0)
        torch.save(create_clip(str(MODEL)).state_dict(), root / "clip.pt")
        small = RunConfig(write_config(root, arguments.samples, arguments.executor))
        large = RunConfig(write_config(root, arguments.samples * GROWTH, arguments.executor))
        loads = [os.getloadavg()[0]]
        took = in_process(root / f"{arguments.samples}.yaml")
        predicted = plan(large, measure([small]), arguments.samples * GROWTH)
        loads.append(os.getloadavg()[0])
        took_large = in_process(root / f"{arguments.samples * GROWTH}.yaml")
        print(f"{arguments.samples:,} -> {arguments.samples * GROWTH:,} pairs, executor {arguments.executor}")
        print(f"load before the smaller run {loads[0]:.1f}, before the larger {loads[1]:.1f}")
        print(f"{'stage':<10}{'N':>9}{'4N':>9}{'predicted':>11}{'error':>8}")
        known = {line.stage: line.seconds or 0.0 for line in predicted.lines}
        known["together"] = predicted.seconds
        for seconds in (took, took_large):
            seconds["together"] = sum(seconds.values())
        for name, actual in took_large.items():
            error = known[name] / actual - 1
            print(f"{name:<10}{took[name]:>7.1f} s{actual:>7.1f} s{known[name]:>9.1f} s{error:>+8.0%}")
        disk = sum(unit.amount for units in measure([large]).size.values() for unit in units)
        print(f"disk: {disk / 1e6:.1f} MB, predicted {predicted.disk / 1e6:.1f} MB, {predicted.disk / disk - 1:+.1%}")
        if arguments.rates:
            found: dict[str, Any] = rates(measure([small, large]))
            found["score"] = {"scorers": {name: of_scorer(root, large, name) for name in SCORERS}}
            print(yaml.safe_dump(found, sort_keys=False))


def write_config(root: Path, samples: int, executor: str) -> Path:
    """Write the config of a run of so many pairs."""
    text = f"""
pool: {root}/{samples}/pool
run_dir: {root}/{samples}/run
source: {{use: webnoise, num_samples: {samples}, num_trusted: 9, num_heldout: 9}}
executor: {{use: {executor}, workers: 2}}
ingest: {{rows_per_file: 40}}
download: {{image_size: 256, resize_mode: keep_ratio_largest, stall_timeout: 2, retries: 1}}
score:
  scorers: {{clip: {{model: {MODEL}, pretrained: {root}/clip.pt}}, caption_stats: {{}}, image_stats: {{}}, phash: {{}}}}
select:
  strategies: {{no_filter: {{}}, clip_score: {{fraction: 0.3}}, half: {{use: random_subset, fraction: 0.5}}}}
reshard: {{samples_per_shard: 100}}
"""
    path = root / f"{samples}.yaml"
    path.write_text(text)
    return path


def in_process(config: Path) -> dict[str, float]:
    """Run in a process of its own: what one run has imported must not help the next."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, config).result()


def run(path: Path) -> dict[str, float]:
    """Run every stage and return the seconds each took, start to end."""
    config = RunConfig(path)
    config.save()
    seconds = {}
    for name in config.stages:
        start = time.perf_counter()
        summary = run_stage(config, name)
        assert not summary.quarantined, summary.quarantined
        seconds[name] = time.perf_counter() - start
    return seconds


def of_scorer(root: Path, pool: RunConfig, name: str) -> dict[str, float]:
    """Return the cost of one scorer alone over a pool that was downloaded, decoding included."""
    text = yaml.safe_dump(
        {
            "pool": pool.values["pool"],
            "run_dir": str(root / name),
            "executor": {"use": "inline"},
            "score": {"scorers": {f"only_{name}": {"use": name, **SCORERS[name]}}},
        }
    )
    (root / f"{name}.yaml").write_text(text)
    in_process(root / f"{name}.yaml")
    return rates(measure([RunConfig(root / f"{name}.yaml")]))["score"]


def rates(measured: Measured) -> dict[str, dict[str, float]]:
    """Return the costs of every stage in the reference's form."""
    names = ("per_worker", "per_worker_sample", "per_unit", "per_sample")
    found = {}
    for stage, units in measured.seconds.items():
        size = fit(measured.size[stage])
        cost = dict(zip(names, astuple(fit(units)), strict=True))
        cost |= {"bytes_per_unit": size.per_unit, "bytes_per_sample": size.per_sample}
        found[stage] = {name: float(f"{value:.3g}") for name, value in cost.items() if value}
    return found


if __name__ == "__main__":
    main()
