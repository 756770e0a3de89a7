"""The executor role: workers that make units. It moves units and outcomes, never data, and knows no retries."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from pydantic import Field, PrivateAttr

from pipeline.engine.crew import Crew
from pipeline.engine.perform import Outcome
from pipeline.engine.pulse import Pulse
from pipeline.stage import Stage, Unit
from winnow.component import Component

__all__ = ["Executor", "Workers"]


class Workers(Protocol):
    """The open workers of one stage. The driver numbers its attempts; a unit may be in two at a time."""

    capacity: int
    """How many attempts may be in flight."""

    def submit(self, attempt: int, unit: Unit, apart: int | None = None) -> None:
        """Start an attempt, if possible on another machine than the attempt `apart`; at most `capacity` in flight."""

    def next(self, timeout: float) -> tuple[int, Outcome] | None:
        """Wait for one attempt to end and return how, None after `timeout` seconds. A worker's death is an outcome."""

    def running(self) -> Mapping[int, float]:
        """Return since when (`time.monotonic`) each attempt is at work; those that wait for a worker are not in it."""

    def stop(self, attempt: int) -> None:
        """End an attempt at once, together with its worker. No outcome comes of it."""

    def report(self, pulse: Pulse) -> None:
        """Take note of how far the stage is, for those who watch."""


class Executor(Component):
    """How units are executed: `inline`, `process` or `ray`."""

    workers: int = Field(default=2, ge=1)
    """Units in flight for a stage that runs in parallel."""
    attempts: int = Field(default=3, ge=1)
    """How often a unit is tried before it is quarantined."""
    unit_timeout: float | None = Field(default=None, gt=0)
    """Seconds an attempt may take, loading of models included, before its worker is killed. Not for `inline`."""
    straggler: float | None = Field(default=3.0, gt=1)
    """When no unit waits any more, one that takes this many times the median is started a second time, beside the
    first, and the first to finish counts; null never does."""
    max_failed: float = Field(default=0.5, gt=0, le=1)
    """Stop when ten or more units have failed for good and they are more than this share of all that have ended."""
    per_stage: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Other values of these fields for single stages: {score: {workers: 4, gpus_per_worker: 1}}."""

    _crew: Crew[Any] | None = PrivateAttr(default=None)

    def for_stage(self, stage: Stage) -> "Executor":
        """Return the executor with the stage's own values; a stage whose units use the whole machine has one worker.

        For such a stage `per_stage` may say otherwise: small models on many cores are trained faster side by side.
        """
        whole_machine = {} if stage.parallel else {"workers": 1}
        fields = self.model_dump(exclude={"per_stage"}) | whole_machine | self.per_stage.get(stage.name, {})
        executor = type(self).model_validate(fields)
        executor._crew = self._crew
        return executor

    @contextmanager
    def keep_workers(self) -> Iterator[None]:
        """Let workers live from stage to stage for as long as this is open."""
        with self.new_crew().open() as crew:
            self._crew = crew
            try:
                yield
            finally:
                self._crew = None

    def new_crew(self) -> Crew[Any]:
        """Return an empty crew for this executor's workers; one without processes of its own has nothing to end."""
        return Crew(lambda worker: None)

    def open(self, stage: Stage) -> AbstractContextManager[Workers]:
        """Have workers, which set the stage up with their first unit; afterwards they are ended, or left to the crew.

        The fields are those of the stage already, see `for_stage`.
        """
        raise NotImplementedError

    @contextmanager
    def _hands(self) -> Iterator[Crew[Any]]:
        """Give the crew that outlives the stage, or else one that ends with it."""
        if self._crew is not None:
            yield self._crew
            return
        with self.new_crew().open() as crew:
            yield crew
