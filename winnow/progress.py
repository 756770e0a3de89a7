"""Progress of long work: a bar with rate and estimate on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Meter", "console", "duration"]

console = Console(highlight=False, soft_wrap=True)


class Meter:
    """Count finished units and samples of one stage, and show them."""

    def __init__(self, label: str, total: int, seconds_between_lines: float = 10.0) -> None:
        self.label, self.total = label, total
        self.seconds_between_lines = seconds_between_lines
        self.done = self.samples = self.retries = 0
        self.start = self.last_line = time.monotonic()
        self.bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            self.bar = Progress(
                SpinnerColumn(),
                TextColumn("[bold]{task.description:<10}"),
                BarColumn(32),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.label, total=self.total, rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def rate(self) -> float:
        """Samples a second since the start."""
        return self.samples / max(self.seconds, 1e-9)

    def advance(self, units: int = 0, samples: int = 0, retries: int = 0) -> None:
        """Count, and show what has changed."""
        self.done, self.samples, self.retries = self.done + units, self.samples + samples, self.retries + retries
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, rate=f"{self.rate:,.0f}/s" if self.samples else "")
        elif time.monotonic() - self.last_line >= self.seconds_between_lines and self.done < self.total:
            self.last_line = time.monotonic()
            left = duration(self.seconds / self.done * (self.total - self.done)) if self.done else "unknown"
            rate = f", {self.rate:,.0f} samples/s" if self.samples else ""
            retried = f", {self.retries} retried" if self.retries else ""
            console.print(f"  {self.label}: {self.done}/{self.total} units{rate}{retried}, about {left} left")


def duration(seconds: float) -> str:
    """Return seconds as people say them: "8.4 s", "3 min 20 s", "5 h 12 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
