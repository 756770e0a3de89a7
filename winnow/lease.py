"""One driver at a time on an object store, which has no locks: an object that names its owner and is renewed by it."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from winnow.errors import StorageError, UserError
from winnow.patience import impatient
from winnow.progress import console

__all__ = ["NAME", "lease"]

NAME = "_lease.json"
RENEW = 15.0
"""Seconds between two renewals."""
SETTLE = 0.5
"""Seconds between taking a lease and looking whether another command has taken it too."""
LIFE = 90.0
"""Seconds after its last renewal in which a lease is taken to be held."""


@contextmanager
def lease(fs: Any, folder: str, url: str, take_over: bool) -> Iterator[Callable[[], None]]:
    """Hold a folder of an object store; yield what raises a `UserError` once another command has taken it over.

    Not every store has conditional writes, so two commands that start in the same moment both write the object; a
    moment later each looks whose it is.

    Args:
        fs: the file system.
        folder: its path there.
        url: how people call it.
        take_over: end another command's lease, which that finds out at its next renewal.

    Raises:
        UserError: another command holds it.
    """
    held = _Lease(fs, f"{folder}/{NAME}", url)
    held.take(take_over)
    ended = threading.Event()
    thread = threading.Thread(target=held.keep, args=(ended,), daemon=True)
    thread.start()
    try:
        yield held.check
    finally:
        ended.set()
        held.release()


class _Lease:
    def __init__(self, fs: Any, path: str, url: str) -> None:
        self.fs, self.path, self.url = fs, path, url
        self.mine = {
            "id": uuid.uuid4().hex,
            "owner": f"{socket.gethostname()}:{os.getpid()}",
            "since": _now(),
            **_process(os.getpid()),
        }
        self.taken_by = ""
        """Who has the folder now, "" while we do."""

    def take(self, over: bool) -> None:
        other = self._read()
        if other is not None and not _is_dead(other):
            age = self._age()
            if not over and age <= LIFE:
                raise UserError(
                    f"another winnow command is writing to {self.url}: {_owner(other)}, last seen {max(age, 0):.0f} s "
                    "ago. Wait for it or end it; if it is gone, repeat the command with --take-over, or in "
                    f"{LIFE - age + 1:.0f} s without"
                )
            why = "taken over" if over else f"its lease ended {age - LIFE:.0f} s ago"
            console.print(f"  {self.url} was written to by {_owner(other)}: {why}", markup=False)
        self._write()
        time.sleep(SETTLE)
        if (other := self._read()) is not None and other.get("id") != self.mine["id"]:
            raise UserError(f"another winnow command began to write to {self.url} just now: {_owner(other)}")

    def keep(self, ended: threading.Event) -> None:
        """Renew the lease until `ended`; while the store is away nobody else can take it either."""
        while not ended.wait(RENEW):
            with suppress(OSError, StorageError), impatient():
                other = self._read()
                if other is None or other.get("id") != self.mine["id"]:
                    self.taken_by = _owner(other or {})
                    return
                self._write()

    def check(self) -> None:
        if self.taken_by:
            raise UserError(
                f"{self.url} was taken over by another winnow command, {self.taken_by}: this one stops. What it has "
                "done stays done"
            )

    def release(self) -> None:
        with suppress(OSError, StorageError), impatient():
            other = self._read()
            if other is not None and other.get("id") == self.mine["id"]:
                self.fs.rm_file(self.path)

    def _write(self) -> None:
        self.fs.pipe_file(self.path, json.dumps(self.mine | {"seen": _now()}, indent=1).encode())

    def _read(self) -> dict[str, Any] | None:
        """Return what the object says, None where there is none; one that cannot be read has no owner."""
        try:
            found = json.loads(self.fs.cat_file(self.path))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _age(self) -> float:
        """Return the seconds since another's lease was renewed, by the one clock of the store."""
        probe = f"{self.path}.{self.mine['id']}"
        self.fs.pipe_file(probe, b"")
        try:
            return float((self.fs.modified(probe) - self.fs.modified(self.path)).total_seconds())
        except FileNotFoundError:  # it was given back meanwhile
            return LIFE + 1
        finally:
            self.fs.rm_file(probe)


def _is_dead(other: dict[str, Any]) -> bool:
    """Tell that an owner was a process of this machine (and container) that is no more."""
    pid = other.get("pid")
    if not isinstance(pid, int) or other.get("machine") != _process(os.getpid())["machine"]:
        return False
    return bool(_process(pid)["born"] != other.get("born"))


def _process(pid: int) -> dict[str, Any]:
    """Return what tells a process from all others: machine and container, number, and when it was born."""
    machine, born = socket.gethostname(), ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        machine = f"{machine} {boot} {os.stat('/proc/self/ns/pid').st_ino}"
    with suppress(OSError, IndexError):  # field 22 of proc(5), counted after the name, which may hold spaces
        born = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return {"pid": pid, "machine": machine, "born": born}


def _owner(found: dict[str, Any]) -> str:
    """Name the owner of a lease."""
    return f"{found.get('owner', 'of unknown name')} since {found.get('since', 'an unknown time')}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
