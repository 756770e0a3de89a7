"""Perform units on Ray actors, on this machine or on a cluster.

Ray carries specs and reports; the disk is the only state. Ray's own restarts and retries are off: a restarted actor
whose node is gone waits for ever, and an out-of-memory task is retried without end; the driver counts attempts instead.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from pipeline.executor import Executor, Workers
from pipeline.perform import Outcome, perform
from pipeline.stage import Stage, Unit

__all__ = ["Ray"]

START_ATTEMPTS = 3


class Ray(Executor):
    """`workers` actors, each performing one unit at a time."""

    address: str = "local"
    """"local" starts Ray inside this process; "auto" or an address joins a running cluster."""
    cpus_per_worker: float = Field(default=1.0, ge=0)
    """CPUs that Ray sets aside for a worker."""
    gpus_per_worker: float = Field(default=0.0, ge=0)
    """GPUs that Ray sets aside for a worker; it sees these alone."""

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Workers]:
        """Create actors as units come; they are killed with the stage. Ray itself stays up for the next stage."""
        settings = self.for_stage(stage)
        assert isinstance(settings, Ray)
        _connect(settings)
        workers = _Actors(stage, settings)
        try:
            yield workers
        finally:
            workers.close()


def _connect(settings: Ray) -> None:
    """Start or join Ray, once in a process."""
    import ray

    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if settings.address != "local":
        ray.init(address=settings.address, **quiet)
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # workers import what this process can: a checkout that is not installed, entries kept outside the tree
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    # actors must fit even where the machine has fewer cores than workers were asked for
    cpus = max(os.cpu_count() or 1, round(settings.workers * settings.cpus_per_worker))
    for attempt in range(START_ATTEMPTS):
        try:
            # the store carries no data: keep it small
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=100 * 2**20, **quiet)
            return
        except Exception:  # Ray raises a bare Exception when its agents miss their 30 s, as on a busy machine
            ray.shutdown()
            if attempt == START_ATTEMPTS - 1:
                raise


class _Actors:
    def __init__(self, stage: Stage, settings: Ray) -> None:
        self.stage = stage
        self.settings = settings
        self.capacity = settings.workers
        self.idle: list[Any] = []
        self.busy: dict[Any, tuple[Any, Unit]] = {}

    def submit(self, unit: Unit) -> None:
        actor = self.idle.pop() if self.idle else self._actor()
        self.busy[actor.perform.remote(unit)] = (actor, unit)

    def next(self) -> Outcome:
        import ray

        done, _ = ray.wait(list(self.busy), num_returns=1)
        actor, unit = self.busy.pop(done[0])
        try:
            outcome: Outcome = ray.get(done[0])
        except ray.exceptions.RayTaskError as error:  # raised in setup(): perform() itself lets nothing out
            return Outcome(unit, error=str(error.cause), detail=str(error))
        except ray.exceptions.RayError as error:
            return Outcome(unit, error=f"the worker died: {str(error).strip().splitlines()[-1]}", detail=str(error))
        self.idle.append(actor)
        return outcome

    def close(self) -> None:
        import ray

        for actor in self.idle + [actor for actor, _ in self.busy.values()]:
            ray.kill(actor)

    def _actor(self) -> Any:
        import ray

        options = {
            "num_cpus": self.settings.cpus_per_worker,
            "num_gpus": self.settings.gpus_per_worker,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        return ray.remote(_Worker).options(**options).remote(self.stage)


class _Worker:
    """The actor: a stage, set up once."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        stage.setup()

    def perform(self, unit: Unit) -> Outcome:
        return perform(self.stage, unit)
