"""Hash and flush a file behind the one who writes it, in a thread: both leave Python's lock."""

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, Self

__all__ = ["HashBehind"]

_CHUNK = 1 << 20


class HashBehind:
    """Follow the writer of a file. Use as a context manager; what the thread raises, `digest` raises."""

    def __init__(self, file: IO[bytes]) -> None:
        """Take a file that can be read too, "w+b"; it has to stay open until the end of the context."""
        self._descriptor = file.fileno()
        self._sha256 = hashlib.sha256()
        self._position = 0
        self._thread = ThreadPoolExecutor(1, "hash")
        self._steps: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def reach(self, end: int) -> None:
        """Say that all bytes before `end` are written and stay as they are."""
        self._steps.append(self._thread.submit(self._follow, end))

    def digest(self) -> str:
        """Return the sha256, 64 hex characters, of all bytes before the last `end`, once they are on the disk."""
        for step in self._steps:
            step.result()
        return self._sha256.hexdigest()

    def _follow(self, end: int) -> None:
        while self._position < end:
            chunk = os.pread(self._descriptor, min(_CHUNK, end - self._position), self._position)
            if not chunk:
                raise OSError(f"the file ends at {self._position} and not at {end}")
            self._sha256.update(chunk)
            self._position += len(chunk)
        os.fdatasync(self._descriptor)  # what is written early is not waited for at the end
