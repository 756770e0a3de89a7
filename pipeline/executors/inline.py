"""Perform units one after the other in this process: for tests and for a debugger."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.executor import Executor, Workers
from pipeline.perform import Outcome, perform
from pipeline.stage import Stage, Unit

__all__ = ["Inline"]


class Inline(Executor):
    """One worker: the driver itself."""

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Workers]:
        """Set the stage up here."""
        stage.setup()
        yield _Here(stage)


class _Here:
    capacity = 1

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.units: list[Unit] = []

    def submit(self, unit: Unit) -> None:
        self.units.append(unit)

    def next(self) -> Outcome:
        return perform(self.stage, self.units.pop(0))
