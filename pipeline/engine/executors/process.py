"""Make units in local processes, each with a pipe of its own, so that a worker's death costs its own unit alone."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from pipeline.engine.crew import Crew, leave_stage
from pipeline.engine.executor import Executor, Workers
from pipeline.engine.perform import Outcome, Worker
from pipeline.engine.pulse import Pulse
from pipeline.stage import Stage, Unit
from winnow.loggers import without_wandb

__all__ = ["Process"]

PATIENCE = 5.0
"""Seconds that a worker has to end by itself once its pipe is closed."""


class Process(Executor):
    """`workers` processes of this machine, which share its cores: each gets OMP_NUM_THREADS where it is not set."""

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Workers]:
        """Start processes as units come."""
        with self._hands() as crew:
            workers = _Processes(stage, self.workers, crew)
            try:
                yield workers
            finally:
                workers.close()

    def new_crew(self) -> "Crew[_Child]":
        """Return an empty crew of processes."""
        return Crew(lambda child: child.dismiss())


@dataclass(frozen=True)
class _Busy:
    """An attempt at work."""

    worker: "_Child"
    unit: Unit
    since: float


class _Processes:
    def __init__(self, stage: Stage, capacity: int, crew: "Crew[_Child]") -> None:
        self.stage = stage
        self.capacity = capacity
        self.threads = max(1, len(os.sched_getaffinity(0)) // capacity)
        self.crew = crew
        self.idle: list[_Child] = []
        for child in crew.take(self.threads, capacity):
            (self.idle.append if child.begin(stage) else _Child.end)(child)
        self.busy: dict[int, _Busy] = {}

    def submit(self, attempt: int, unit: Unit, apart: int | None = None) -> None:
        worker = self.idle.pop() if self.idle else _Child.start(self.stage, self.threads)
        with suppress(OSError):  # it has died idle: `next` will say so
            worker.pipe.send(unit)
        self.busy[attempt] = _Busy(worker, unit, time.monotonic())

    def next(self, timeout: float) -> tuple[int, Outcome] | None:
        signs: dict[Any, int] = {busy.worker.pipe: attempt for attempt, busy in self.busy.items()}
        signs |= {busy.worker.process.sentinel: attempt for attempt, busy in self.busy.items()}
        for sign in wait([*signs], timeout):
            attempt = signs[sign]
            busy = self.busy.pop(attempt)
            try:
                outcome: Outcome = busy.worker.answer()
            except Exception:  # the pipe's end, or half an outcome
                error = f"the worker process died: {_how(busy.worker.end(PATIENCE))}"
                return attempt, Outcome(busy.unit, error=error)
            self.idle.append(busy.worker)
            return attempt, outcome
        return None

    def running(self) -> Mapping[int, float]:
        return {attempt: busy.since for attempt, busy in self.busy.items()}

    def stop(self, attempt: int) -> None:
        self.busy.pop(attempt).worker.end()

    def report(self, pulse: Pulse) -> None:
        pass

    def close(self) -> None:
        for busy in self.busy.values():
            busy.worker.end()
        for worker in self.idle:
            worker.leave()
        self.crew.leave(self.threads, self.idle)


class _Child:
    """A worker process and this end of its pipe."""

    def __init__(self, threads: int) -> None:
        # spawn: a forked child of a process that has used torch threads can hang
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there,))
        with _threads(threads):
            self.process.start()
        there.close()

    @classmethod
    def start(cls, stage: Stage, threads: int) -> Self:
        """Start a process for a stage."""
        child = cls(threads)
        with suppress(OSError):  # it has died: the pipe's end will say so
            child.pipe.send(stage)
        return child

    def leave(self) -> None:
        """Have it drop its stage."""
        with suppress(OSError):
            self.pipe.send(None)

    def begin(self, stage: Stage) -> bool:
        """Give it the next stage; False where it has died, or says that a new process should have it."""
        try:
            if not (self.pipe.poll(PATIENCE) and self.pipe.recv()):
                return False
            self.pipe.send(stage)
        except (EOFError, OSError):
            return False
        return True

    def dismiss(self) -> None:
        """Let it end by itself."""
        self.pipe.close()
        self.end(PATIENCE)

    def answer(self) -> Outcome:
        """Return the outcome that has come.

        Raises:
            EOFError: none has, and none will.
        """
        if not self.pipe.poll():  # only the process has ended; what it had started may hold the pipe open
            raise EOFError
        outcome: Outcome = self.pipe.recv()
        return outcome

    def end(self, patience: float = 0.0) -> int | None:
        """Wait so many seconds for the process to end, else kill it and what it has started; return its exit code."""
        assert self.process.pid is not None
        self.process.join(patience)
        if self.process.is_alive():
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not come as far as its own group
                self.process.kill()
        self.process.join()
        if not self.pipe.closed:
            self.pipe.close()
        return self.process.exitcode


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Have a process that starts now compute with so many threads: more than there are cores spin and wait."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(number)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def _serve(pipe: "Connection[Outcome | bool, Stage | Unit | None]") -> None:
    """Make units of the stage that came last until the pipe is closed; None tells that this stage is over."""
    os.setpgid(0, 0)  # what the stage starts (torchrun) ends with this worker
    threading.Thread(target=_die_with_parent, daemon=True).start()
    without_wandb()
    worker: Worker | None = None
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            message = pipe.recv()
            if message is None:
                worker = None
                pipe.send(leave_stage())
            elif isinstance(message, Unit):
                assert worker is not None
                pipe.send(worker.make(message))
            else:
                worker = Worker(message)


def _die_with_parent() -> None:
    """End this worker and what it has started when the driver is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


def _how(code: int | None) -> str:
    """Say how a process ended by its exit code."""
    if code is not None and code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return f"exit code {code}"
