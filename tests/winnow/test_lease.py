"""One driver at a time on an object store: the second is refused, the dead are no obstacle, the evicted stop."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from object_store import bucket_behind

from winnow import lease
from winnow.errors import UserError
from winnow.storage import Store

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from winnow.storage import Store
with Store(sys.argv[1]).exclusive():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """A folder in memory, and a lease that is renewed all the time."""
    monkeypatch.setattr(lease, "RENEW", 0.02)
    monkeypatch.setattr(lease, "SETTLE", 0.05)
    return Store(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket, which other processes see too."""
    with bucket_behind(monkeypatch) as (url, _):
        yield f"{url}/pool"


def holder(url: str) -> "subprocess.Popen[str]":
    """Start a process that holds a folder until its input ends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, url]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def put(store: Store, **changes: Any) -> None:
    """Leave a lease of another machine."""
    fields = {"id": "x", "owner": "elsewhere:12", "since": "2026-01-01", "machine": "elsewhere", "pid": 12, "born": "1"}
    store.write(lease.NAME, json.dumps(fields | changes).encode())


def test_the_second_is_refused_while_the_first_lives(bucket: str) -> None:
    first, store = holder(bucket), Store(bucket)
    with pytest.raises(UserError, match=rf"writing to {bucket}: .*:{first.pid} since .*--take-over"), store.exclusive():
        pass
    assert store.exists(lease.NAME), "the refused one leaves the lease alone"
    first.communicate()
    assert not store.exists(lease.NAME)
    with store.exclusive() as check:
        check()
    assert store.sizes("") == {}, "nothing stays behind"


def test_a_killed_owner_on_this_machine_is_no_obstacle(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = holder(bucket)
    first.send_signal(signal.SIGKILL)
    first.wait()
    store = Store(bucket)
    assert store.exists(lease.NAME)
    with store.exclusive():
        pass
    assert capsys.readouterr().out == ""


def test_a_living_owner_can_be_taken_over_from(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, store = holder(bucket), Store(bucket)
    with store.exclusive(take_over=True) as check:
        check()
        first.communicate()
        assert store.exists(lease.NAME), "the first gives back its own lease alone"
    assert f":{first.pid} since" in capsys.readouterr().out


def test_an_owner_elsewhere_has_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    with pytest.raises(UserError, match=r"elsewhere:12 since 2026-01-01.*in \d+ s without"), store.exclusive():
        pass
    assert [*store.sizes("")] == [lease.NAME]
    monkeypatch.setattr(lease, "LIFE", -1.0)
    with store.exclusive() as check:
        check()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"pid": "x"}'])
def test_a_lease_that_cannot_be_read_has_a_time_too(text: bytes, store: Store) -> None:
    store.write(lease.NAME, text)
    with pytest.raises(UserError, match="of unknown name"), store.exclusive():
        pass
    with store.exclusive(take_over=True):
        pass


def test_the_evicted_finds_out(store: Store) -> None:
    with store.exclusive() as check:
        check()
        put(store)
        until(lambda: raises(check))
        with pytest.raises(UserError, match=r"taken over by another winnow command, elsewhere:12"):
            check()
    assert json.loads(store.read(lease.NAME))["owner"] == "elsewhere:12"


def test_a_pid_that_is_another_process_now_is_dead(store: Store) -> None:
    put(store, **{**lease._process(os.getpid()), "born": "long ago"})
    with store.exclusive():
        pass


def test_of_two_that_start_at_once_one_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW", 60.0)
    ready, ends = threading.Barrier(8), []

    def begin() -> None:
        ready.wait()
        try:
            with Store(store.url).exclusive():
                ends.append("held")
                together.wait()
        except UserError as error:
            ends.append(str(error))
            together.wait()

    together = threading.Barrier(8)
    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends.count("held") == 1
    assert all("another winnow command" in end for end in ends if end != "held")


def test_it_is_renewed_and_bears_a_store_that_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW", 0.02)
    with bucket_behind(monkeypatch) as (url, line):
        store = Store(f"{url}/pool")
        with store.exclusive() as check:
            line.cut()
            threading.Event().wait(0.3)
            line.restore()
            before = store.fs.modified(store.path(lease.NAME))
            until(lambda: store.fs.modified(store.path(lease.NAME)) > before)
            check()


def until(done: Any) -> None:
    """Wait for something to become true; the test's time limit ends what never does."""
    while not done():
        threading.Event().wait(0.01)


def raises(check: Any) -> bool:
    """Tell whether a check fails."""
    try:
        check()
    except UserError:
        return True
    return False
