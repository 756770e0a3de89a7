"""Make units one after the other in this process: for tests and for a debugger."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipeline.engine.executor import Executor, Workers
from pipeline.engine.perform import Outcome, Worker
from pipeline.engine.pulse import Pulse
from pipeline.stage import Stage, Unit

__all__ = ["Inline"]


class Inline(Executor):
    """One worker: the driver itself."""

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Workers]:
        """Have the stage here."""
        yield _Here(stage)


class _Here:
    capacity = 1

    def __init__(self, stage: Stage) -> None:
        self.worker = Worker(stage)
        self.waiting: deque[tuple[int, Unit]] = deque()

    def submit(self, attempt: int, unit: Unit, apart: int | None = None) -> None:
        self.waiting.append((attempt, unit))

    def next(self, timeout: float) -> tuple[int, Outcome] | None:
        attempt, unit = self.waiting.popleft()
        return attempt, self.worker.make(unit)

    def running(self) -> Mapping[int, float]:
        return {attempt: time.monotonic() for attempt, _ in self.waiting}

    def stop(self, attempt: int) -> None:
        self.waiting = deque(item for item in self.waiting if item[0] != attempt)

    def report(self, pulse: Pulse) -> None:
        pass
