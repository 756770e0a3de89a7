"""metrics.jsonl: what a run measured, the same bytes whether or not it was interrupted; clocks go to timings.jsonl."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["MetricsLog"]


class MetricsLog:
    """Means of named values between lines. Only rank 0 writes; every rank may hold one."""

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self.folder = folder
        self.writes = writes
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._began, self._began_at = time.perf_counter(), 0

    def resume(self, samples_seen: int, state: Mapping[str, Any]) -> None:
        """Drop lines of steps that will be run again and take up the open window of the checkpoint."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        self._began_at = samples_seen
        if self.writes:
            path = self.folder / "metrics.jsonl"
            lines = path.read_text().splitlines(keepends=True) if path.exists() else []
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["samples_seen"] <= samples_seen]
            path.write_text("".join(kept))

    def start(self) -> None:
        """Begin anew, without lines."""
        if self.writes:
            for name in ("metrics.jsonl", "timings.jsonl"):
                (self.folder / name).write_text("")

    def add(self, values: Mapping[str, float]) -> None:
        """Take in the values of one step."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def write(self, samples_seen: int, lr: float) -> None:
        """Close the window with a line."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        now = time.perf_counter()
        rate = (samples_seen - self._began_at) / (now - self._began)
        self._began, self._began_at = now, samples_seen
        if self.writes:
            self._append("metrics.jsonl", {"samples_seen": samples_seen, "lr": lr, **means})
            self._append("timings.jsonl", {"samples_seen": samples_seen, "samples_per_second": round(rate, 2)})

    def state_dict(self) -> dict[str, Any]:
        """Return the open window, for a checkpoint."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        """Add a line to a file."""
        with (self.folder / name).open("a") as file:
            file.write(json.dumps(line) + "\n")
