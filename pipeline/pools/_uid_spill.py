"""The uids of a pool in a file without a name: 16 bytes a sample in memory would be most of what a large pool takes."""

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from filters.subset import argsort_uids
from winnow.uid import UID

__all__ = ["Spilled", "UidSpill"]

_RANGES = 16
_BOUNDS = np.arange(1, _RANGES, dtype=np.uint64) * np.uint64(2**64 // _RANGES)
"""The values at which the ranges of upper words but the first begin."""


@dataclass(frozen=True)
class Spilled:
    """Where n uids lie in the file; behind them their upper words, sorted."""

    offset: int
    size: int
    """n."""
    edges: tuple[int, ...]
    """Before which of the sorted words each range begins, and n."""


class UidSpill:
    """Uids in a temporary file, written once and read by any thread; the file is gone when this is."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object
        self._lock, self._size = Lock(), 0

    def add(self, uids: NDArray[np.void]) -> Spilled:
        """Write (n,) uids of dtype "u8,u8"."""
        words = np.sort(uids["f0"])
        edges = (0, *np.searchsorted(words, _BOUNDS).tolist(), len(words))
        with self._lock:
            offset, self._size = self._size, self._size + uids.nbytes + words.nbytes
        _write(self._file.fileno(), uids.tobytes(), offset)
        _write(self._file.fileno(), words.tobytes(), offset + uids.nbytes)
        return Spilled(offset, len(uids), edges)

    def read(self, part: Spilled) -> NDArray[np.void]:
        """Return the (n,) uids of a part, read-only."""
        return np.frombuffer(_read(self._file.fileno(), part.size * UID.itemsize, part.offset), UID)

    def repeated(self, parts: Sequence[Spilled], threads: ThreadPoolExecutor) -> NDArray[np.int64]:
        """Return the sorted places, counted through all parts, of uids that occur at an earlier place.

        The upper words, of which two are hardly ever equal by chance, tell which rows need a closer look; a range of
        them is in memory at a time.
        """
        equal = np.concatenate([self._twice(parts, number) for number in range(_RANGES)])
        if not len(equal):
            return np.zeros(0, np.int64)

        def look(part: Spilled) -> tuple[NDArray[np.intp], NDArray[np.void]]:
            uids = self.read(part)
            (rows,) = np.nonzero(equal[np.minimum(np.searchsorted(equal, uids["f0"]), len(equal) - 1)] == uids["f0"])
            return rows, uids[rows]

        begins = accumulate((part.size for part in parts), initial=0)
        found = [(rows + begin, uids) for begin, (rows, uids) in zip(begins, threads.map(look, parts), strict=False)]
        place, uid = (np.concatenate(column) for column in zip(*found, strict=True))
        order = argsort_uids(uid)  # stable: of equal uids the first in the pool comes first
        return np.sort(place[order[1:]][uid[order[1:]] == uid[order[:-1]]])

    def _twice(self, parts: Sequence[Spilled], number: int) -> NDArray[np.uint64]:
        """Return the upper words of a range that occur more than once, sorted, each once."""
        words = np.empty(sum(part.edges[number + 1] - part.edges[number] for part in parts), np.uint64)
        start = 0
        for part in parts:
            first, last = part.edges[number], part.edges[number + 1]
            size, offset = (last - first) * words.itemsize, part.offset + part.size * UID.itemsize
            data = _read(self._file.fileno(), size, offset + first * words.itemsize)
            words[start : start + last - first] = np.frombuffer(data, np.uint64)
            start += last - first
        words.sort()
        return np.unique(words[1:][words[1:] == words[:-1]])


def _write(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of the data at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _read(descriptor: int, size: int, offset: int) -> bytes:
    """Return so many bytes from an offset on; one call may return fewer."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise OSError("the temporary file with the pool's uids was cut short")
        data += more
    return data
