"""Workers that live through the stages of a run: importing torch and open_clip costs each new process seconds.

A worker that a stage leaves behind waits for the next stage that wants workers of its kind; it is ended as soon as a
stage wants another kind or fewer, so no idle worker holds what a busy one needs.
"""

import gc
import os
import sys
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

__all__ = ["Crew", "leave_stage"]

W = TypeVar("W")


class Crew(Generic[W]):
    """The idle workers between two stages."""

    def __init__(self, end: Callable[[W], object]) -> None:
        """Start without any.

        Args:
            end: ends one worker.
        """
        self.kind: Hashable = None
        self.idle: list[W] = []
        self._end = end

    def take(self, kind: Hashable, most: int) -> list[W]:
        """Return at most `most` workers of a kind and end all others.

        Args:
            kind: what a worker cannot change once it lives: its threads, its share of a machine.
            most: how many the stage has use for.
        """
        taken = self.idle[:most] if kind == self.kind else []
        for worker in self.idle[len(taken) :]:
            self._end(worker)
        self.idle = []
        return taken

    def leave(self, kind: Hashable, workers: list[W]) -> None:
        """Keep workers that a stage no longer needs."""
        self.kind, self.idle = kind, workers

    @contextmanager
    def open(self) -> Iterator["Crew[W]"]:
        """End those who are still idle afterwards."""
        try:
            yield self
        finally:
            self.take(None, 0)


def leave_stage() -> bool:
    """Free what a stage held in this worker, once nothing refers to it; tell whether the next stage may have it.

    It may not where it would differ from a new one: CUDA is open, which holds memory of a GPU that others want, or the
    number of threads that torch started with is not known, on which the last bits of its sums depend.
    """
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return True
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if not threads.isdigit() or torch.cuda.is_initialized():
        return False
    torch.set_num_threads(int(threads))  # scorers choose their own
    return True
