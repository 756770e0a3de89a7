"""Overlap fetching and decoding: one thread drives the network, others decode, pictures go to a file as they come."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import IO

from pipeline.download.convert import Converter, Row
from pipeline.download.fetch import Fetched
from pipeline.download.shard import Outcome

__all__ = ["collect"]

BACKLOG = 64
"""Bodies that wait to be decoded before no further transfer starts: bounds the memory."""

Done = Callable[[int, Fetched], None]
Fetch = Callable[[Sequence[str], Done, Callable[[], bool]], None]


def collect(rows: Sequence[Row], fetch: Fetch, convert: Converter, spool: IO[bytes], threads: int) -> list[Outcome]:
    """Return the outcome of every row, in their order.

    Args:
        rows: n rows.
        fetch: gets URLs and calls back with (index, result) of each; waits while the other callable says False.
        convert: makes an outcome and a picture of a body.
        spool: empty file that takes the pictures as they come, to be packed in order afterwards.
        threads: that decode.
    """
    outcomes: list[Outcome | None] = [row.settled for row in rows]
    asked = [index for index, row in enumerate(rows) if row.settled is None]
    lock = threading.Lock()
    waiting = 0
    failures: list[BaseException] = []

    def finish(index: int, body: bytes) -> None:
        nonlocal waiting
        try:
            outcome, data = convert(rows[index], body)
            with lock:
                if data is not None:
                    outcome = replace(outcome, place=(spool.seek(0, os.SEEK_END), len(data)))
                    spool.write(data)
            outcomes[index] = outcome
        except BaseException as error:  # of ours, not of the picture: the unit fails, in the thread that waits for it
            failures.append(error)
        finally:
            with lock:
                waiting -= 1

    def done(place: int, fetched: Fetched) -> None:
        nonlocal waiting
        if fetched.body is None:
            outcomes[asked[place]] = Outcome("failed_to_download", fetched.error)
            return
        with lock:
            waiting += 1
        decoders.submit(finish, asked[place], fetched.body)

    def ready() -> bool:
        if failures:
            raise failures[0]
        return waiting < BACKLOG

    with ThreadPoolExecutor(threads, "decode") as decoders:
        fetch([rows[index].url for index in asked], done, ready)
    if failures:
        raise failures[0]
    assert all(outcomes), "a URL ended without an outcome"
    return [outcome for outcome in outcomes if outcome is not None]
