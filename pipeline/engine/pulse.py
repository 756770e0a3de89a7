"""How far a stage is, as its driver tells: a small file that others can watch from any machine."""

import json
import os
import socket
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from winnow.errors import StorageError
from winnow.patience import impatient
from winnow.storage import Store

__all__ = ["Pulse", "PulseFile", "read_pulse"]

EVERY = 5.0
"""Seconds between two writings."""
GRACE = 5.0
"""Seconds that the last writing of a stage may take."""
WINDOW = 300.0
"""Seconds over which the present rate is taken."""


@dataclass
class Pulse:
    """The state of one stage's run."""

    stage: str
    planned: int = 0
    """Units of the stage."""
    skipped: int = 0
    """Units that were done before this run."""
    done: int = 0
    """Units done by this run."""
    in_flight: int = 0
    """Attempts at work or waiting for a worker."""
    samples: int = 0
    """Samples in the units done by this run."""
    retries: int = 0
    quarantined: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """Other counts of the products, by kind: failed downloads, dropped rows."""
    started: float = 0.0
    """When the run of this stage began, in seconds since 1970."""
    updated: float = 0.0
    """When this was written."""
    ended: bool = False
    """The run is over: finished, stopped or given up, but not killed."""
    units_per_second: float = 0.0
    """Over the last minutes."""
    samples_per_second: float = 0.0
    """Over the last minutes."""
    host: str = ""
    """Machine and process of the driver."""

    @property
    def left(self) -> int:
        """Units that neither are done nor have failed for good."""
        return max(0, self.planned - self.skipped - self.done - self.quarantined)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end at the present rate, None where there is no rate."""
        return self.left / self.units_per_second if self.units_per_second else None


class PulseFile:
    """Write a pulse now and then, with the rates of the last minutes; where it cannot be written, nobody stops for it.

    To an object store it is written aside, in one thread after the other, since a store that is away takes its time.
    """

    def __init__(self, store: Store, pulse: Pulse) -> None:
        self.store, self.pulse = store, pulse
        pulse.started, pulse.host = time.time(), f"{socket.gethostname()}:{os.getpid()}"
        self.marks: deque[tuple[float, int, int]] = deque([(time.monotonic(), 0, 0)])
        self.written = 0.0
        self.trouble = ""
        """Why the last writing failed, "" if it did not."""
        self.aside: threading.Thread | None = None

    def beat(self, *, now: bool = False) -> bool:
        """Write the pulse if it is time; tell whether it was."""
        pulse, clock = self.pulse, time.monotonic()
        if not now and clock - self.written < EVERY:
            return False
        self.written = clock
        self.marks.append((clock, pulse.done, pulse.samples))
        while len(self.marks) > 2 and self.marks[1][0] < clock - WINDOW:
            self.marks.popleft()
        since, done, samples = self.marks[0]
        seconds = max(clock - since, 1e-9)
        pulse.units_per_second = round((pulse.done - done) / seconds, 6)
        pulse.samples_per_second = round((pulse.samples - samples) / seconds, 3)
        pulse.updated = time.time()
        text = json.dumps(asdict(pulse), indent=1).encode()
        if self.store.is_local:
            self._write(text)
            return True
        if now and self.aside is not None:
            self.aside.join(GRACE)
        if self.aside is None or not self.aside.is_alive():
            self.aside = threading.Thread(target=self._write, args=(text,), daemon=True)
            self.aside.start()
            if pulse.ended:
                self.aside.join(GRACE)
        return True

    def end(self) -> None:
        """Write the pulse for the last time."""
        self.pulse.ended = True
        self.beat(now=True)

    def _write(self, text: bytes) -> None:
        try:
            with impatient():
                self.store.write(_name(self.pulse.stage), text, durable=False)
        except (OSError, StorageError) as error:  # a full disk, a store that is away
            self.trouble = str(error)
        else:
            self.trouble = ""


def read_pulse(store: Store, stage: str) -> Pulse | None:
    """Return the last pulse of a stage, None where it never ran or the file cannot be read."""
    try:
        data: dict[str, Any] = json.loads(store.read(_name(stage)))
        return Pulse(**data)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _name(stage: str) -> str:
    return f"progress/{stage}.json"
