"""Every call to a file system that is not a local disk: tried again while its trouble may pass, for a stated time.

`reach` is the only way to a file system. What it returns behaves as fsspec's, with three differences: trouble that may
pass is waited for, other trouble is one sentence (`StorageError`), and no call takes trouble for "there is nothing":
fsspec's own `exists`, `isdir` and `glob` answer "no" when the service is down.
"""

import io
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate, infer_compression
from pydantic import Field

from winnow.component import Component
from winnow.errors import StorageError, UserError
from winnow.faults import MAKE, Fault, fault_of

__all__ = ["Storage", "impatient", "reach"]

FIRST = 7.0
"""Seconds for a store that has never answered this process: more likely its address is wrong than that it rests."""
SLEEP, LONGEST_SLEEP = 0.1, 15.0
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
"""Protocol -> the extra that installs its client. All of these have buckets."""

CONNECT = 5
"""Seconds in which an address takes a connection, or does not."""

Answer = TypeVar("Answer")


class Storage(Component):
    """The config's section `storage`."""

    retry_for: float = Field(default=600.0, ge=0)
    """Seconds for which a call to an object store is tried again while the trouble may pass: refused and broken
    connections, time-outs, throttling, errors of the server. Afterwards the run ends with one line, and the same
    command goes on. A store that never answered is given 7 seconds."""

    def apply(self, *, reached: bool = False) -> None:
        """Make this the patience of the process.

        Args:
            reached: another process has had an answer of the stores already: wait for the first one as for all others.
        """
        _process.retry_for, _process.first = self.retry_for, self.retry_for if reached else FIRST


class _Process:
    """The patience of this process."""

    retry_for, first = 600.0, FIRST

    def __init__(self) -> None:
        self.answered: set[str] = set()
        """Buckets that have answered."""


_process = _Process()
_once: ContextVar[bool] = ContextVar("once", default=False)


@contextmanager
def impatient() -> Iterator[None]:
    """Try every call of this thread once only: for notes that may be lost."""
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


def reach(url: str, **options: Any) -> tuple[Any, str]:
    """Return the file system and the path of a local path or fsspec URL.

    Args:
        url: a path, or a URL of any protocol that fsspec knows.
        options: what the file system is made with, beyond fsspec's own configuration.

    Raises:
        UserError: the protocol is unknown, or its client is not installed.
        StorageError: the client cannot be set up.
    """
    protocol = url.partition("://")[0]
    if protocol in ("s3", "s3a"):  # its own retries would hide the cause for longer than we wait for a first answer
        given = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
        own = {"connect_timeout": CONNECT, "retries": {"total_max_attempts": 1}}
        options = {**options, "config_kwargs": own | given}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        how = f"pip install 'winnow[{extra}]'" if extra else f"install what fsspec asks for ({error})"
        raise UserError(f"{url}: the client for {protocol}:// is not installed: {how}") from error
    except ValueError as error:
        raise UserError(f"{url}: {error}") from error
    except Exception as error:
        if (fault := fault_of(error)) is None:
            raise
        raise StorageError(f"cannot reach {url}: {fault.cause}. {fault.remedy}", transient=fault.transient) from error
    if isinstance(fs, LocalFileSystem):
        return fs, str(path)
    return _Patient(fs, protocol), str(path)


class _Patient:
    """A file system whose methods wait for it."""

    def __init__(self, fs: Any, protocol: str) -> None:
        self._fs = fs
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._fs, name)
        if not callable(found):
            return found

        def method(*args: Any, **kwargs: Any) -> Any:
            # of two paths the last is the remote one: put_file(local, remote)
            paths = [arg for arg in args if isinstance(arg, str)]
            writes = name in ("pipe_file", "put_file")
            return self._call(paths[-1] if paths else "", lambda: found(*args, **kwargs), writes)

        return method

    def info(self, path: str) -> dict[str, Any]:
        """Return what is known of a file or folder.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._call(path, lambda: dict(self._fs.info(path)))

    def exists(self, path: str) -> bool:
        """Tell whether a file or folder exists."""
        return self._kind(path) != ""

    def isdir(self, path: str) -> bool:
        """Tell whether a folder exists."""
        return self._kind(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Tell whether a file exists."""
        return self._kind(path) == "file"

    def glob(self, path: str) -> list[str]:
        """Return the sorted files whose path matches."""
        top = re.split(r"[*?\[]", path, maxsplit=1)[0].rpartition("/")[0]
        matches = re.compile(glob_translate(path)).match
        return sorted(str(name) for name in self._call(top, lambda: self._fs.find(top)) if matches(str(name)))

    def open(self, path: str, mode: str = "rb", compression: str | None = None) -> IO[bytes]:
        """Open a file for reading.

        Args:
            path: the file.
            mode: "rb" alone: what is written is written whole.
            compression: None, "infer" by the name's ending, or its name.
        """
        if mode != "rb":
            raise ValueError(f"files of object stores are opened for reading only, not {mode!r}")
        file = _PatientFile(self, path, self._call(path, lambda: self._fs.open(path, "rb")))
        kind = infer_compression(path) if compression == "infer" else compression
        return file if kind is None else fsspec.compression.compr[kind](file, mode="rb")  # type: ignore[return-value]

    def _kind(self, path: str) -> str:
        """Return "file" or "directory", "" where there is neither."""
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return ""

    def _call(self, path: str, ask: Callable[[], Answer], writes: bool = False) -> Answer:
        """Ask until there is an answer.

        Args:
            path: what is asked about.
            ask: the call.
            writes: it makes the file; that it is not found is no answer to that.

        Raises:
            StorageError: there is none in time, or none to be had.
        """
        where = f"{self._protocol}://{path.lstrip('/')}"
        bucket = f"{self._protocol}://{path.lstrip('/').partition('/')[0]}"
        first = bucket not in _process.answered
        limit = _process.first if first else _process.retry_for
        start, sleep = time.monotonic(), SLEEP
        while True:
            try:
                left = limit - (time.monotonic() - start)
                answer = _within(left, ask) if first and limit <= FIRST else ask()
                _process.answered.add(bucket)
                return answer
            except Exception as error:
                fault = self._fault(error, path, writes)
                if fault is None:
                    _process.answered.add(bucket)
                    raise
                left = limit - (time.monotonic() - start)
                if not fault.transient:
                    raise StorageError(f"cannot use {where}: {fault.cause}. {fault.remedy}") from error
                if left <= sleep or _once.get():
                    tried = f"no answer from {where} in {time.monotonic() - start:.0f} s ({fault.cause})"
                    again = "Repeat the command when it answers: what is done stays done"
                    raise StorageError(f"{tried}. {fault.remedy}. {again}", transient=True) from error
            time.sleep(sleep * random.uniform(0.5, 1.0))
            sleep = min(2 * sleep, LONGEST_SLEEP)

    def _fault(self, error: Exception, path: str, writes: bool) -> Fault | None:
        """Return what an exception says about the store; that a bucket itself is not found is a fault."""
        fault = fault_of(error)
        is_bucket = self._protocol in EXTRAS and "/" not in path.strip("/")
        # with a number it is of the local file that was to be sent
        if fault is None and isinstance(error, FileNotFoundError) and error.errno is None and (is_bucket or writes):
            return Fault(False, f"there is no such bucket, or no object store at its address ({error})", MAKE)
        return fault


class _PatientFile(io.RawIOBase):
    """A file open for reading, whose reads wait for the store."""

    def __init__(self, fs: _Patient, path: str, file: Any) -> None:
        self._fs, self._path, self._file = fs, path, file
        self.size = getattr(file, "size", None)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be sought in."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position and return it."""
        return int(self._file.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        """Return the next `size` bytes, all that are left where it is negative or None."""
        return self._again(lambda: bytes(self._file.read(-1 if size is None else size)))

    def readall(self) -> bytes:
        """Return all that is left."""
        return self.read()

    def readline(self, size: int | None = -1) -> bytes:
        """Return the next line."""
        return self._again(lambda: bytes(self._file.readline()))

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer and return how far."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close it."""
        if not self.closed:
            self._file.close()
        super().close()

    def _again(self, read: Callable[[], bytes]) -> bytes:
        """Read, from the same position if it must be done again."""
        position = self.tell()

        def ask() -> bytes:
            self._file.seek(position)
            return read()

        return self._fs._call(self._path, ask)


def _within(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """Ask in a thread, so that a connection that hangs takes no longer than `seconds`.

    Raises:
        TimeoutError: there was no answer by then.
    """
    found: list[tuple[Answer | None, Exception | None]] = []

    def work() -> None:
        try:
            found.append((ask(), None))
        except Exception as error:
            found.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError(f"no answer in {seconds:g} s")
    answer, error = found[0]
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]
