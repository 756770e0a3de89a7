"""Perform units in local processes, one pool per worker so that a worker's death costs its own unit alone."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from pipeline.executor import Executor, Workers
from pipeline.perform import Outcome, perform
from pipeline.stage import Stage, Unit

__all__ = ["Process"]

_stage: Stage
"""The stage of this worker process, set up once by `_start`."""


class Process(Executor):
    """`workers` processes of this machine."""

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Workers]:
        """Start processes as units come; they end with the stage."""
        workers = _Processes(stage, self.for_stage(stage).workers)
        try:
            yield workers
        finally:
            for pool in workers.idle + [pool for pool, _ in workers.busy.values()]:
                pool.shutdown(cancel_futures=True)


class _Processes:
    def __init__(self, stage: Stage, capacity: int) -> None:
        self.stage = stage
        self.capacity = capacity
        self.idle: list[ProcessPoolExecutor] = []
        self.busy: dict[Future[Outcome], tuple[ProcessPoolExecutor, Unit]] = {}

    def submit(self, unit: Unit) -> None:
        pool = self.idle.pop() if self.idle else self._pool()
        self.busy[pool.submit(_perform, unit)] = (pool, unit)

    def next(self) -> Outcome:
        future = next(iter(wait(self.busy, return_when=FIRST_COMPLETED).done))
        pool, unit = self.busy.pop(future)
        try:
            outcome = future.result()
        except BrokenProcessPool as error:
            pool.shutdown(wait=False)
            return Outcome(unit, error=f"the worker process died: {error}")
        self.idle.append(pool)
        return outcome

    def _pool(self) -> ProcessPoolExecutor:
        # spawn: a forked child of a process that has used torch threads can hang
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, mp_context=context, initializer=_start, initargs=(self.stage,))


def _start(stage: Stage) -> None:
    global _stage
    _stage = stage
    threading.Thread(target=_die_with_parent, daemon=True).start()
    stage.setup()


def _die_with_parent() -> None:
    """End this worker when the driver is gone: a pool's worker waits for work for ever after its driver was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _perform(unit: Unit) -> Outcome:
    return perform(_stage, unit)
