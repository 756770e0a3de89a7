"""Be a bearable guest: how many requests a host gets at a time and a second, and when it is asked again."""

import hashlib
import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar

__all__ = ["Hosts", "back_off", "retry_after"]

Job = TypeVar("Job")

BACK_OFF = 0.25  # seconds before the first retry, doubled before each further one, give or take half of it


@dataclass
class _Host:
    """The queue of one host."""

    name: str
    waiting: deque[object] = field(default_factory=deque)
    active: int = 0
    due: float = 0.0
    """No request before this time."""
    queued: bool = False
    """It stands in `Hosts.runnable` or `Hosts.sleeping`."""


class Hosts(Generic[Job]):
    """Jobs by host, handed out in turn: one of each host that may be asked, then again."""

    def __init__(self, at_once: int, per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the limits of every host.

        Args:
            at_once: jobs of one host that may run at the same time.
            per_second: jobs of one host that may start within a second, None for any number.
            clock: seconds.
        """
        self.at_once, self.pause, self.clock = at_once, 1 / per_second if per_second else 0.0, clock
        self.hosts: dict[str, _Host] = {}
        self.runnable: deque[_Host] = deque()
        self.sleeping: list[tuple[float, str]] = []
        self.waiting = 0

    def add(self, name: str, job: Job) -> None:
        """Queue a job behind the others of its host."""
        host = self.hosts.setdefault(name, _Host(name))
        host.waiting.append(job)
        self.waiting += 1
        self._queue(host)

    def take(self) -> Job | None:
        """Return the next job that may start now, None where there is none; `release` its host when it has ended."""
        now = self.clock()
        while self.sleeping and self.sleeping[0][0] <= now:
            host = self.hosts[heapq.heappop(self.sleeping)[1]]
            host.queued = False
            self._queue(host)
        while self.runnable:
            host = self.runnable.popleft()
            host.queued = False
            if host.due > now:
                self._queue(host)
                continue
            job: Job = host.waiting.popleft()  # type: ignore[assignment]
            self.waiting -= 1
            host.active += 1
            host.due = now + self.pause
            self._queue(host)
            return job
        return None

    def release(self, name: str) -> None:
        """Note that a job of a host has ended."""
        host = self.hosts[name]
        host.active -= 1
        self._queue(host)
        if not host.active and not host.waiting and host.due <= self.clock():
            del self.hosts[name]  # a list of millions of hosts is not a reason to remember them all

    def hold(self, name: str, seconds: float) -> float:
        """Ask nothing of a host for some time; return by how many seconds that is longer than was due anyway."""
        host, now = self.hosts.setdefault(name, _Host(name)), self.clock()
        before = max(host.due, now)
        host.due = max(host.due, now + seconds)
        return host.due - before

    def _queue(self, host: _Host) -> None:
        """Put a host where it belongs, unless it stands somewhere or has nothing to do."""
        if host.queued or not host.waiting or host.active >= self.at_once:
            return
        host.queued = True
        if host.due > self.clock():
            heapq.heappush(self.sleeping, (host.due, host.name))
        else:
            self.runnable.append(host)


def back_off(url: str, attempt: int) -> float:
    """Return the seconds to wait before another attempt at a URL, the same in every run.

    Args:
        url: spreads the attempts of a shard's URLs, so that a host that fell over is not asked by all at once.
        attempt: how many there were before, 0 for the first retry.
    """
    place = int.from_bytes(hashlib.sha256(f"{attempt} {url}".encode("utf-8", "replace")).digest()[:8], "big") / 2**64
    return BACK_OFF * 2.0**attempt * (0.5 + place)


def retry_after(value: str, most: float) -> float:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), at most `most`, 0 for nonsense."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), most)
    try:
        wanted = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wanted, 0.0), most)
