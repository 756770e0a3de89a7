"""A folder anywhere fsspec reaches: files appear under their final name whole or not at all."""

import atexit
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

from fsspec.implementations.local import LocalFileSystem

from winnow.errors import StorageError, UserError
from winnow.lease import lease
from winnow.patience import impatient, reach

__all__ = ["Sizes", "Store", "is_inside", "link_or_copy"]


class Store:
    """A root folder (local path or fsspec URL) and the few operations the pipeline needs on it.

    Options of a remote file system come from fsspec's own configuration, which workers share with the driver:
    environment variables such as FSSPEC_S3_ENDPOINT_URL, or files in ~/.config/fsspec.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        # listings are never remembered: other processes write here
        self.fs, root = reach(self.url, use_listings_cache=False)
        self.root = root.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.url,)

    def path(self, name: str) -> str:
        """Return the full path of `name` ("shards/00000.tar") within the file system.

        Raises:
            UserError: the name leads out of the store, as none of ours does.
        """
        if not is_inside(name):
            raise UserError(f"{name!r} leads out of {self.url!r}: who wrote that pool or run is not to be trusted")
        return f"{self.root}/{name}" if name else self.root

    def where(self, name: str) -> str:
        """Return `name` as people find it: with the store's scheme."""
        return self.path(name) if self.is_local else f"{self.url.rstrip('/')}/{name}".rstrip("/")

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return self.fs.open(self.path(name), "rb")  # type: ignore[no-any-return]

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        if self.is_local:  # many small ones are read: fsspec would take longer than the file system
            return Path(self.path(name)).read_bytes()
        return self.fs.cat_file(self.path(name))  # type: ignore[no-any-return]

    def answers(self) -> bool:
        """Tell whether the store answers at present, asked once."""
        try:
            with impatient():
                self.exists("")
        except StorageError:
            return False
        return True

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
        return sorted(name for name in self.sizes(folder) if name.endswith(suffix))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size in bytes of the files directly in `folder`, by name relative to the root."""
        path, start = self.path(folder), f"{folder}/" if folder else ""
        if not self.is_local:
            if not self.fs.isdir(path):
                return {}
            self.fs.invalidate_cache(path)
            found = [entry for entry in self.fs.ls(path, detail=True) if entry["type"] == "file"]
            return {start + str(entry["name"]).rpartition("/")[2]: int(entry["size"]) for entry in found}
        try:
            with os.scandir(path) as entries:
                return {start + entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a small file atomically.

        Args:
            name: its name.
            data: its content.
            durable: flush it to disk. What may tear in a power cut, because its reader can tell, need not wait.
        """
        if not self.is_local:
            self.fs.pipe_file(self.path(name), data)
            return
        draft = Path(self.root) / "_attempts" / uuid.uuid4().hex
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(data)
            self.commit(draft, name, durable=durable)
        finally:
            draft.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Delete a file; none there is fine."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    @contextmanager
    def attempt(self) -> Iterator[Path]:
        """Yield an empty local folder to write into; whatever was not committed from it is removed afterwards."""
        folder = self.begin()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def begin(self) -> Path:
        """Return a new empty local folder to write into, which the caller removes."""
        # local: the same file system as the final place, so that a commit is one rename
        folder = (Path(self.root) / "_attempts" if self.is_local else _spool()) / uuid.uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def commit(self, path: Path, name: str, *, durable: bool = True) -> None:
        """Give a finished local file its final name.

        Local: flush to disk, then rename. Remote: upload; object stores show an object only when it is whole.
        """
        target = self.path(name)
        if not self.is_local:
            self.fs.put_file(str(path), target)
            return
        if durable:
            flush(path)
        self.publish([(path, name)], durable=durable)

    def publish(self, files: Iterable[tuple[Path, str]], *, durable: bool = True) -> None:
        """Give flushed files of a local store their final names: only renames."""
        parents = set()
        for path, name in files:
            target = Path(self.path(name))
            if target.parent not in parents:
                target.parent.mkdir(parents=True, exist_ok=True)
                parents.add(target.parent)
            os.replace(path, target)
        if durable:
            for parent in parents:
                flush(parent)

    @contextmanager
    def exclusive(self, take_over: bool = False) -> Iterator[Callable[[], None]]:
        """Hold the folder as its only driver, and remove what killed attempts left behind, before and after.

        The lock ends with the process, however it ends. Object stores have a lease instead, and no attempts of ours.

        Args:
            take_over: of an object store, even from a command that may still live.

        Yields:
            what raises a `UserError` once another command has taken the folder over: to be called now and then.

        Raises:
            UserError: another process holds it.
        """
        if not self.is_local:
            with lease(self.fs, self.root, self.url, take_over) as check:
                yield check
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
                yield lambda: None
            finally:
                shutil.rmtree(attempts, ignore_errors=True)


def is_inside(name: str) -> bool:
    """Tell whether a name relative to a store stays within it."""
    return not name.startswith("/") and "\0" not in name and (".." not in name or ".." not in name.split("/"))


class Sizes:
    """Sizes of many files of a store, by one listing of each folder."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folders: dict[str, dict[str, int]] = {}

    def of(self, name: str) -> int | None:
        """Return a file's size in bytes when its folder was listed, None where there was no such file."""
        folder = name.rpartition("/")[0]
        if folder not in self.folders:
            self.folders[folder] = self.store.sizes(folder)
        return self.folders[folder].get(name)


def flush(path: Path) -> None:
    """Flush a file's or a folder's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=1)
def _spool() -> Path:
    """Return this process's folder for what it uploads, and remove those of processes that were killed.

    A lock that ends with its process tells them apart, in other containers too. It is taken before the folder exists.
    """
    parent = Path(tempfile.gettempdir())
    for folder in parent.glob("winnow-spool-*"):
        lock = folder.with_suffix(".lock")
        if folder.is_dir() and lock.exists() and os.access(lock, os.W_OK):
            with lock.open("w") as held, suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)
    folder = parent / f"winnow-spool-{uuid.uuid4().hex}"
    descriptor = os.open(folder.with_suffix(".lock"), os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # held until the process ends
    folder.mkdir()
    atexit.register(_remove_spool, folder)
    return folder


def _remove_spool(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".lock").unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a local file a second name; where the file system knows no hard links, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
