"""The executor role: workers that perform units. It moves units and outcomes, never data, and knows no retries."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from pydantic import Field

from pipeline.perform import Outcome
from pipeline.stage import Stage, Unit
from winnow.component import Component

__all__ = ["Executor", "Workers"]


class Workers(Protocol):
    """The open workers of one stage."""

    capacity: int
    """How many units may be in flight."""

    def submit(self, unit: Unit) -> None:
        """Start a unit; at most `capacity` are in flight."""

    def next(self) -> Outcome:
        """Wait for one unit to end and return how. A worker that dies is an outcome with an error."""


class Executor(Component):
    """How units are executed: `inline`, `process` or `ray`."""

    workers: int = Field(default=2, ge=1)
    """Units in flight for a stage that runs in parallel."""
    attempts: int = Field(default=3, ge=1)
    """How often a unit is tried before it is quarantined."""
    per_stage: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Other values of these fields for single stages: {score: {workers: 4, gpus_per_worker: 1}}."""

    def for_stage(self, stage: Stage) -> "Executor":
        """Return the executor with the stage's own values; a stage that uses the whole machine gets one worker."""
        fields = self.model_dump(exclude={"per_stage"}) | self.per_stage.get(stage.name, {})
        if not stage.parallel:
            fields["workers"] = 1
        return type(self).model_validate(fields)

    def open(self, stage: Stage) -> AbstractContextManager[Workers]:
        """Start the workers, each with its own `stage.setup()`, and stop them afterwards."""
        raise NotImplementedError
