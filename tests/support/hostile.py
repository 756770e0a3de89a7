"""What the fuzz tests share: how long they run, and how a valid file is damaged."""

import base64
import os
import resource
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

__all__ = ["SECONDS", "Packed", "bounded", "damaged", "fuzz", "little_memory", "unpacked"]

SECONDS = float(os.environ.get("WINNOW_FUZZ_SECONDS", "60"))
"""How long each kind is fuzzed by `make test-slow`."""

SEED = int(os.environ.get("WINNOW_FUZZ_SEED", time.time_ns() % 2**32))
"""Where the long run begins; another one each time unless given. The default run is always the same."""


class Packed(bytes):
    """Bytes that are shown as what `unpacked` reads, for a failing one to be kept as a regression."""

    def __repr__(self) -> str:
        return f"unpacked({base64.b85encode(zlib.compress(self, 9)).decode()!r})"


def unpacked(text: str) -> bytes:
    """Return what a `Packed` was shown as."""
    return zlib.decompress(base64.b85decode(text))


def bounded(examples: int) -> settings:
    """Return the settings of the default run: so many examples, the same ones every time."""
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )


def fuzz(check: Callable[[Any], None], cases: st.SearchStrategy[Any], seconds: float = SECONDS) -> None:
    """Check ever new cases for some time; what fails is shrunk and shown, and belongs into a regression test."""
    end, number = time.monotonic() + seconds, SEED
    while time.monotonic() < end:
        number += 1

        @seed(number)
        @settings(max_examples=300, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(cases)
        def run(case: Any) -> None:
            if time.monotonic() < end:
                check(case)

        run()


@contextmanager
def little_memory(megabytes: int) -> Iterator[None]:
    """Hold a block to a growth of this process's peak memory."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss: bytes there, KiB elsewhere
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit
    assert grown < megabytes, f"the peak grew by {grown:.0f} MB"


@st.composite
def damaged(draw: st.DrawFn, originals: st.SearchStrategy[bytes], most: int = 8) -> bytes:
    """Flip bytes of a file, cut it, repeat a part of it, put a part of another one into it."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(0, most))):
        if not data:
            break
        place = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["byte", "bit", "word", "cut", "drop", "repeat", "splice"]))
        if kind == "byte":
            data[place] = draw(st.integers(0, 255))
        elif kind == "bit":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "word":
            data[place : place + 4] = draw(
                st.sampled_from(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0"]
                )
            )
        elif kind == "cut":
            del data[place:]
        elif kind == "drop":
            del data[place : place + draw(st.integers(1, 600))]
        elif kind == "repeat":
            data[place:place] = data[place : place + draw(st.integers(1, 600))]
        else:
            other = draw(originals)
            start = draw(st.integers(0, max(0, len(other) - 1)))
            data[place:place] = other[start : start + draw(st.integers(1, 600))]
    return bytes(data)
