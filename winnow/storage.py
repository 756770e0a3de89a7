"""A folder anywhere fsspec reaches: files appear under their final name whole or not at all."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from winnow.errors import UserError

__all__ = ["Store"]


class Store:
    """A root folder (local path or fsspec URL) and the few operations the pipeline needs on it."""

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self.fs, root = fsspec.core.url_to_fs(self.url)
        self.root = str(root).rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.url,)

    def path(self, name: str) -> str:
        """Return the full path of `name` ("shards/00000.tar") within the file system."""
        return f"{self.root}/{name}" if name else self.root

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return self.fs.open(self.path(name), "rb")  # type: ignore[no-any-return]

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return self.fs.cat_file(self.path(name))  # type: ignore[no-any-return]

    def exists(self, name: str) -> bool:
        """Tell whether a file or folder exists."""
        return bool(self.fs.exists(self.path(name)))

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, None where there is no such file."""
        try:
            return int(self.fs.size(self.path(name)))
        except FileNotFoundError:
            return None

    def list(self, folder: str, suffix: str = "") -> list[str]:
        """Return the sorted names (relative to the root) of the files directly in `folder` that end in `suffix`."""
        path = self.path(folder)
        if not self.fs.isdir(path):
            return []
        self.fs.invalidate_cache(path)
        found = [str(entry["name"]) for entry in self.fs.ls(path, detail=True) if entry["type"] == "file"]
        names = sorted(name.rpartition("/")[2] for name in found)
        return [f"{folder}/{name}" if folder else name for name in names if name.endswith(suffix)]

    def write(self, name: str, data: bytes) -> None:
        """Write a small file atomically."""
        with self.attempt() as folder:
            (folder / "data").write_bytes(data)
            self.commit(folder / "data", name)

    def remove(self, name: str) -> None:
        """Delete a file; none there is fine."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    @contextmanager
    def attempt(self) -> Iterator[Path]:
        """Yield an empty local folder to write into; whatever was not committed from it is removed afterwards."""
        if self.is_local:  # the same file system as the final place, so that a commit is one rename
            folder = Path(self.root) / "_attempts" / uuid.uuid4().hex
        else:
            folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"winnow-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, path: Path, name: str) -> None:
        """Give a finished local file its final name.

        Local: flush to disk, then rename. Remote: upload; object stores show an object only when it is whole.
        """
        target = self.path(name)
        if not self.is_local:
            self.fs.put_file(str(path), target)
            return
        _fsync(path)
        parent = Path(target).parent
        parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        _fsync(parent)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the folder as its only driver, and remove what killed attempts left behind, before and after.

        The lock ends with the process, however it ends. Object stores have no locks and no attempts of ours.

        Raises:
            UserError: another process holds it.
        """
        if not self.is_local:
            yield
            return
        Path(self.root).mkdir(parents=True, exist_ok=True)
        with open(self.path("_lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another winnow command is writing to {self.root!r}; wait for it or end it") from None
            attempts = Path(self.root) / "_attempts"
            shutil.rmtree(attempts, ignore_errors=True)
            try:
                yield
            finally:
                shutil.rmtree(attempts, ignore_errors=True)


def _fsync(path: Path) -> None:
    """Flush a file's or a folder's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
