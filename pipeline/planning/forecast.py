"""How long a config will take on a pool of a given size, and what it will need, from what small runs of it took.

    seconds = ceil(units / workers) * (per_unit + per_sample * samples of a unit) + what a worker needs to get going

The rates are fitted to the journal rows of finished runs (`measured.py`, `cost.py` beside this file); where these leave
something open, and for stages that were not run, rates measured once stand in (`reference_rates.yaml`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import RunConfig
from pipeline.engine.executors.ray import Ray
from pipeline.planning.cost import Cost, fit
from pipeline.planning.measured import FIXED, Measured, size_of, workers_of
from winnow.errors import UserError

__all__ = ["Line", "Plan", "parse_rows", "plan"]

SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True)
class Line:
    """What one stage needs."""

    stage: str
    basis: str
    """Where the rates come from; "not known" where there are none."""
    units: int = 0
    samples: int = 0
    seconds: float | None = None
    """From the start of the stage to its end; None if not known."""
    cores: float = 0.0
    gpus: float = 0.0
    disk: float | None = None
    """Bytes that it leaves."""
    traffic: float | None = None
    """Bytes that it takes in: from the web for the download, from the pool for the others."""


@dataclass
class Plan:
    """What a run needs for a pool of `rows` pairs."""

    rows: int
    lines: list[Line] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of all stages whose rates are known, one after the other."""
        return sum(line.seconds or 0.0 for line in self.lines)

    @property
    def disk(self) -> float:
        """Bytes that all stages leave."""
        return sum(line.disk or 0.0 for line in self.lines)


def parse_rows(text: str) -> int:
    """Return the number that "12.8M", "1.28B", "400K" or "2000" stands for.

    Raises:
        UserError: it stands for none.
    """
    number, suffix = text.strip().upper().replace("_", ""), ""
    if number[-1:] in SUFFIXES:
        number, suffix = number[:-1], number[-1:]
    try:
        rows = round(float(number) * SUFFIXES[suffix])
    except (ValueError, OverflowError):
        rows = 0
    if rows < 1:
        raise UserError(f"{text!r} is no number of pairs; accepted: 2000, 400K, 12.8M, 1.28B")
    return rows


def plan(config: RunConfig, measured: Measured, rows: int) -> Plan:
    """Estimate every stage of a config.

    Args:
        config: what shall run.
        measured: what was seen of it, or of runs that differ in size alone.
        rows: pairs of the pool's metadata.
    """
    return _Planner(config, measured, rows).plan()


@cache
def reference() -> dict[str, Any]:
    """Return the rates that were measured once."""
    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "reference_rates.yaml").read_text())
    return found


@dataclass(frozen=True)
class _Work:
    """What a stage has to do."""

    units: int
    samples: float
    pool: float = 0.0
    """Samples that each worker reads on top."""


class _Planner:
    """The plan of one config for one size."""

    def __init__(self, config: RunConfig, measured: Measured, rows: int) -> None:
        self.config, self.measured, self.rows = config, measured, rows
        self.done = Plan(rows)
        assumed = reference()["assumptions"]
        success = 1.0
        if "download" in config.stages:
            found = measured.success()
            success = assumed["success"] if found is None else found
            self._assume(f"{success:.1%} of the rows are downloaded", found is None)
        self.pairs = rows * success
        self.web_bytes = assumed["web_bytes_per_picture"]
        self.kept_share = assumed["kept"]

    def plan(self) -> Plan:
        """Go through the stages in order: what one leaves is what others read."""
        left: dict[str, float] = {}
        for name in self.config.stages:
            line = self._fixed(name) if name in FIXED else self._growing(name, left)
            left[name] = line.disk or 0.0
            self.done.lines.append(line)
        return self.done

    def _fixed(self, name: str) -> Line:
        """Estimate a stage that does the same for a pool of any size: what was measured is what it takes."""
        units = self.measured.seconds[name]
        extras = self.measured.extras[name]
        if not units and not extras:
            return Line(name, "not known: run it once on a small pool")
        workers = workers_of(self.config, name)
        seconds = sum(unit.amount for unit in units) + sum(row.seconds for row in extras)
        return Line(
            name,
            f"{len(units) + len(extras)} units measured, the same for any pool",
            units=len(units) + len(extras),
            samples=sum(unit.samples for unit in units),
            seconds=self._start() + seconds / workers,
            disk=sum(unit.amount for unit in self.measured.size[name]) + sum(size_of(row) for row in extras),
            **self._machines(name, len(units)),
        )

    def _growing(self, name: str, left: Mapping[str, float]) -> Line:
        """Estimate a stage whose work grows with the pool."""
        work = self._work(name)
        known, missing = self._reference(name)
        seconds, size = self.measured.seconds[name], self.measured.size[name]
        extras = self.measured.extras[name]
        if seconds:
            time, disk = fit(seconds, known[0]), fit(size, known[1])
            basis = f"{len(seconds)} units measured"
            added, missing = self._unmeasured(name)
            if added is not None:
                time, disk, basis = (
                    time + added[0],
                    disk + added[1],
                    f"{basis}, the rest reference rates{self._kinds(name)}",
                )
        elif known != (Cost(), Cost()):
            (time, disk), basis = known, f"reference rates{self._kinds(name)}"
        else:
            return Line(name, "not known: run it once on a small pool", work.units)
        if missing:
            basis += f"; without {', '.join(missing)}: no rate"
        workers = workers_of(self.config, name)
        rounds = math.ceil(work.units / workers)
        wall = time.worker(work.pool) + rounds * time.units(1, work.samples / work.units)
        return Line(
            name,
            basis,
            units=work.units + len(extras),
            samples=round(work.samples),
            seconds=self._start() + wall + sum(row.seconds for row in extras) / workers,
            disk=disk.units(work.units, work.samples) + sum(size_of(row) for row in extras),
            traffic=self._traffic(name, left),
            **self._machines(name, work.units),
        )

    def _work(self, name: str) -> _Work:
        """Return how many units of how many samples a stage has for this pool."""
        stage: Any = self.config.stages[name]
        shards = math.ceil(self.rows / self._rows_per_file())
        if name == "ingest":
            return _Work(1, self.rows)
        if name == "download":
            return _Work(shards, self.rows)
        if name == "relate":
            return _Work(max(1, len(stage.scorers)), self.pairs * len(stage.scorers))
        if name == "select":
            return _Work(len(stage.strategies), self.pairs * len(stage.strategies), self.pairs)
        if name == "reshard":
            kept = [self.pairs * share for share in self._kept(stage.strategies)]
            return _Work(sum(max(1, math.ceil(n / stage.samples_per_shard)) for n in kept), sum(kept), self.pairs)
        return _Work(shards, self.pairs)  # score, attach

    def _kept(self, subsets: Sequence[str] | None) -> Iterator[float]:
        """Yield the share that each subset of the reshard stage keeps."""
        select: Any = self.config.stages.get("select")
        specs: Mapping[str, Any] = select.strategies if select is not None else {}
        for name in subsets if subsets is not None else specs:
            share, spec = self.measured.kept(name), specs.get(name) or {}
            if share is not None:
                self._assume(f"{name} keeps {share:.1%}", False)
                yield share
            elif spec.get("use", name) == "no_filter":
                yield 1.0
            elif isinstance(fraction := spec.get("fraction"), float):
                yield fraction
            else:
                self._assume(f"{name} keeps {self.kept_share:.0%}", True)
                yield self.kept_share

    def _rows_per_file(self) -> float:
        """Return the rows of a shard: as the ingest of the config makes them, else as those measured."""
        ingest: Any = self.config.stages.get("ingest")
        if ingest is not None:
            return float(ingest.rows_per_file)
        sizes = [unit.samples for stage in ("download", "score") for unit in self.measured.seconds[stage]]
        return max(sizes, default=10_000)

    def _reference(self, name: str) -> tuple[tuple[Cost, Cost], list[str]]:
        """Return the reference's cost in seconds and in bytes, and the scorers it does not know."""
        source = (self.config.values.get("source") or {}).get("use", "webnoise")
        section = reference()["stages"].get(f"ingest/{source}" if name == "ingest" else name, {})
        time, disk = _costs(section)
        scorers: Mapping[str, Any] = getattr(self.config.stages[name], "scorers", {})
        missing = []
        for key, spec in scorers.items():
            entry = section.get("scorers", {}).get((spec or {}).get("use", key))
            if entry is None:
                missing.append(key)
            else:
                time, disk = time + _costs(entry)[0], disk + _costs(entry)[1]
        if name == "relate" and scorers:  # its units are its scorers: the sum over all is shared out among them
            time, disk = _mean(time, len(scorers)), _mean(disk, len(scorers))
        return (time, disk), missing

    def _unmeasured(self, name: str) -> tuple[tuple[Cost, Cost] | None, list[str]]:
        """Return the reference's cost of scorers that the measured runs did not have, and those without any."""
        scorers: Mapping[str, Any] = getattr(self.config.stages[name], "scorers", {}) if name == "score" else {}
        known = reference()["stages"].get(name, {}).get("scorers", {})
        new = {
            key: (spec or {}).get("use", key) for key, spec in scorers.items() if key not in self.measured.keys[name]
        }
        found = [_costs(known[use]) for use in new.values() if use in known]
        missing = [key for key, use in new.items() if use not in known]
        if not found:
            return None, missing
        total = (Cost(), Cost())
        for time, disk in found:
            total = (total[0] + time, total[1] + disk)
        return total, missing

    def _kinds(self, name: str) -> str:
        """Return in brackets what the reference's scorers were, where that matters."""
        scorers: Mapping[str, Any] = getattr(self.config.stages[name], "scorers", {})
        uses = {(spec or {}).get("use", key) for key, spec in scorers.items()}
        known = reference()["stages"].get(name, {}).get("scorers", {})
        kinds = [f"{use}: {known[use]['of']}" for use in sorted(uses & set(known)) if "of" in known[use]]
        return f" ({', '.join(kinds)})" if kinds else ""

    def _traffic(self, name: str, left: Mapping[str, float]) -> float | None:
        """Return the bytes that a stage takes in."""
        if name == "download":
            self._assume(f"a picture has {self.web_bytes / 1000:,.0f} KB on the web", True)
            return float(self.rows * self.web_bytes)
        shards = left.get("download", 0.0)
        if name == "score":
            return shards
        if name == "reshard":
            return shards / self.pairs * sum(self.pairs * share for share in self._kept(self._subsets()))
        columns = left.get("score", 0.0) + left.get("attach", 0.0)
        return columns + left.get("relate", 0.0) if name == "select" else columns if name == "relate" else None

    def _subsets(self) -> list[str] | None:
        """Return the subsets that the reshard stage names."""
        stage: Any = self.config.stages["reshard"]
        names: list[str] | None = stage.strategies
        return names

    def _machines(self, name: str, units: int) -> dict[str, Any]:
        """Return cores and GPUs of a stage's workers as configured, as far as there are units for them."""
        executor = self.config.executor.for_stage(self.config.stages[name])
        workers = min(workers_of(self.config, name), max(1, units))
        if isinstance(executor, Ray):
            return {"cores": workers * executor.cpus_per_worker, "gpus": workers * executor.gpus_per_worker}
        return {"cores": float(workers), "gpus": 0.0}

    def _start(self) -> float:
        """Return the seconds until the first worker of a stage is up."""
        return float(reference()["start"].get(type(self.config.executor).__name__.lower(), 0.0))

    def _assume(self, what: str, guessed: bool) -> None:
        """Note what the plan stands on, once."""
        text = f"{what} ({'assumed' if guessed else 'measured'})"
        if text not in self.done.assumptions:
            self.done.assumptions.append(text)


def _costs(entry: Mapping[str, float]) -> tuple[Cost, Cost]:
    """Return seconds and bytes of a reference entry."""
    names = ("per_worker", "per_worker_sample", "per_unit", "per_sample")
    time = Cost(**{name: float(entry[name]) for name in names if name in entry})
    return time, Cost(per_unit=entry.get("bytes_per_unit", 0.0), per_sample=entry.get("bytes_per_sample", 0.0))


def _mean(cost: Cost, number: int) -> Cost:
    """Return the cost of one of several units that together cost as much."""
    return Cost(cost.per_worker, cost.per_worker_sample, cost.per_unit / number, cost.per_sample / number)
