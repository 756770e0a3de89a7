"""The driver: with real workers that misbehave, and with scripted ones in any order of events."""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from squares import Squares

from pipeline.config import RunConfig
from pipeline.engine.drive import FAILED, LOST, Drive
from pipeline.engine.executor import Executor, Workers
from pipeline.engine.perform import Outcome, Worker
from pipeline.engine.pulse import Pulse, read_pulse
from pipeline.runner import run_stage
from pipeline.stage import Unit
from winnow.journal import Journal
from winnow.progress import Meter

Make = Callable[..., RunConfig]


def outputs(config: RunConfig) -> dict[str, str]:
    folder = Path(config.values["run_dir"]) / "out"
    return {path.name: path.read_text() for path in sorted(folder.glob("*"))}


def squared(*numbers: int) -> dict[str, str]:
    return {f"{n}.txt": str(n * n) for n in numbers}


def test_a_straggler_is_started_again_and_counted_once(squares: Make) -> None:
    """The first attempt at 6 sleeps for an hour: only a second one beside it can end the run."""
    config = squares({"use": "process", "workers": 2}, numbers=range(1, 7), faults={6: "hang once"})
    summary = run_stage(config, "squares")
    assert (summary.done, summary.quarantined) == (6, {})
    assert summary.counts["samples"] == 21
    assert outputs(config) == squared(1, 2, 3, 4, 5, 6)
    assert not list((Path(config.values["run_dir"]) / "_attempts").glob("*"))


def test_an_attempt_over_its_time_is_killed_and_tried_again(squares: Make) -> None:
    config = squares(
        {"use": "process", "workers": 2, "unit_timeout": 8, "straggler": None}, numbers=(1, 2), faults={2: "hang once"}
    )
    summary = run_stage(config, "squares")
    assert (summary.done, summary.quarantined) == (2, {})
    assert outputs(config) == squared(1, 2)
    pulse = read_pulse(config.run_store, "squares")
    assert pulse is not None
    assert (pulse.done, pulse.retries, pulse.ended) == (2, 1, True)


def test_what_always_takes_too_long_is_quarantined(squares: Make) -> None:
    config = squares({"use": "process", "unit_timeout": 2, "attempts": 1}, numbers=(3,), faults={3: "hang"})
    summary = run_stage(config, "squares")
    assert summary.quarantined == {"3": "took longer than 2 s (executor.unit_timeout)"}
    assert outputs(config) == {}


@pytest.mark.parametrize("given", [None, "3"])
def test_worker_processes_share_the_cores(squares: Make, monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    cores = len(os.sched_getaffinity(0))
    config = squares({"use": "process", "workers": cores, "attempts": 1}, numbers=(1,), faults={1: "threads"})
    assert run_stage(config, "squares").quarantined == {"1": f"RuntimeError: {given or 1} threads"}
    assert os.environ.get("OMP_NUM_THREADS") == given


@pytest.mark.parametrize("executor", [{"use": "inline"}, {"use": "process", "workers": 1}])
def test_a_failing_setup_is_a_reason_like_any_other(squares: Make, executor: dict[str, Any]) -> None:
    summary = run_stage(squares({**executor, "attempts": 2}, numbers=(1, 2), no_setup=True), "squares")
    assert summary.quarantined == dict.fromkeys("12", "RuntimeError: the model cannot be loaded")
    assert summary.errors() == ["squares/1 and 1 more: RuntimeError: the model cannot be loaded"]


def test_stops_when_too_many_units_fail(squares: Make) -> None:
    many = tuple(range(100))
    wrong = squares({"use": "inline", "attempts": 1}, numbers=many, faults=dict.fromkeys(many, "raise"))
    summary = run_stage(wrong, "squares")
    assert summary.stopped == "10 of 10 units failed (executor.max_failed)"
    assert len(summary.quarantined) == FAILED
    faults = {n: "user" for n in many if n % 3}
    assert "units failed" in run_stage(squares({"use": "inline"}, numbers=many, faults=faults), "squares").stopped
    some = squares({"use": "inline", "max_failed": 0.7}, numbers=many, faults=faults)
    summary = run_stage(some, "squares")
    assert (summary.stopped, summary.done + summary.skipped, len(summary.quarantined)) == ("", 34, 66)


def test_stops_when_no_worker_gets_anywhere(squares: Make) -> None:
    many = tuple(range(1000))
    summary = run_stage(squares({"use": "inline"}, numbers=many, no_setup=True), "squares")
    assert "attempts all failed, the last with: RuntimeError: the model cannot be loaded" in summary.stopped
    assert not summary.done


def test_notes_of_earlier_failures_go_when_units_are_tried_again(squares: Make) -> None:
    run_stage(squares({"use": "inline"}, faults={2: "user"}), "squares")
    config = squares({"use": "inline"})
    assert config.run_store.list("quarantine") == ["quarantine/squares~2.txt"]
    run_stage(config, "squares")
    assert config.run_store.list("quarantine") == []


class Scripted(Workers):
    """Workers whose attempts end, fail, hang or are lost by dice; what they really make is made at their end."""

    def __init__(self, stage: Squares, capacity: int, dice: random.Random) -> None:
        self.stage, self.capacity, self.dice = stage, capacity, dice
        self.flight: dict[int, tuple[Unit, float]] = {}
        self.hanging: set[int] = set()
        self.stopped: list[int] = []
        self.most = 0

    def submit(self, attempt: int, unit: Unit, apart: int | None = None) -> None:
        assert apart is None or self.flight[apart][0] == unit
        hangs = self.dice.random() < 0.2
        if hangs:
            self.hanging.add(attempt)
        self.flight[attempt] = unit, time.monotonic() - (100 if hangs else self.dice.choice([0, 20, 100]))
        self.most = max(self.most, len(self.flight))

    def next(self, timeout: float) -> tuple[int, Outcome] | None:
        ready = sorted(self.flight.keys() - self.hanging)
        if not ready or self.dice.random() < 0.2:
            return None
        attempt = self.dice.choice(ready)
        unit, _ = self.flight.pop(attempt)
        kind = self.dice.random()
        if kind < 0.2:
            return attempt, Outcome(unit, error="broken")
        if kind < 0.3:
            return attempt, Outcome(unit, error="its machine is gone", blameless=True)
        return attempt, Worker(self.stage, ready=True).make(unit)

    def running(self) -> Mapping[int, float]:
        return {attempt: since for attempt, (_, since) in self.flight.items()}

    def stop(self, attempt: int) -> None:
        del self.flight[attempt]
        self.hanging.discard(attempt)
        self.stopped.append(attempt)

    def report(self, pulse: Pulse) -> None:
        assert pulse.done + pulse.quarantined <= pulse.planned


class Script(Executor):
    """Opens given workers."""

    given: Any = None

    @contextmanager
    def open(self, stage: Any) -> Iterator[Workers]:
        yield self.given


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_every_unit_ends_once(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    numbers = range(1, 15)
    stage = Squares(pool=str(tmp_path), run_dir=str(tmp_path), numbers=numbers)
    workers = Scripted(stage, capacity=dice.choice([1, 3, 20]), dice=dice)
    journal = Journal(stage.store)
    pulse = Pulse("squares", planned=len(numbers))
    executor = Script(given=workers, attempts=4, unit_timeout=50, max_failed=1.0)
    drive = Drive(executor, stage, journal, pulse, Meter("squares", len(numbers)))
    with stage.store.exclusive():
        drive.run(stage.plan())
    done = {int(product.partition("/")[2]) for product in journal.rows}
    failed = {int(unit) for unit in drive.quarantined}
    assert done | failed == set(numbers)
    assert not done & failed
    assert (pulse.done, pulse.quarantined, drive.counts["samples"]) == (len(done), len(failed), sum(done))
    assert workers.most <= workers.capacity
    assert not workers.flight
    for n in done:
        assert (tmp_path / f"out/{n}.txt").read_text() == str(n * n)
    assert len(list((tmp_path / "out").glob("*"))) == len(done) if done else True
    assert Journal(stage.store).rows == journal.rows


def test_attempts_lost_with_their_machine_do_not_count_soon(tmp_path: Path) -> None:
    stage = Squares(pool=str(tmp_path), run_dir=str(tmp_path), numbers=(1,))

    class Losing(Scripted):
        def next(self, timeout: float) -> tuple[int, Outcome] | None:
            attempt, (unit, _) = self.flight.popitem()
            return attempt, Outcome(unit, error="its machine is gone", blameless=True)

    pulse = Pulse("squares", planned=1)
    executor = Script(given=Losing(stage, 1, random.Random(0)), attempts=2)
    drive = Drive(executor, stage, Journal(stage.store), pulse, Meter("squares", 1))
    drive.run(stage.plan())
    assert (pulse.retries, list(drive.quarantined)) == (LOST - 1, ["1"])


class Quick(Scripted):
    """Workers that nobody ever sees at work, so quick are they; the first attempt at the last unit hangs for long."""

    def submit(self, attempt: int, unit: Unit, apart: int | None = None) -> None:
        super().submit(attempt, unit, apart)
        self.flight[attempt] = unit, time.monotonic() - 100
        self.hanging = {attempt} if unit.spec["n"] == 5 and apart is None else set()

    def running(self) -> Mapping[int, float]:
        return {attempt: since for attempt, (_, since) in self.flight.items() if attempt in self.hanging}


def test_how_long_units_take_is_known_even_where_none_was_seen_at_work(tmp_path: Path) -> None:
    stage = Squares(pool=str(tmp_path), run_dir=str(tmp_path))
    workers = Quick(stage, 2, random.Random(1))
    executor = Script(given=workers, attempts=100, max_failed=1.0, unit_timeout=1000)
    drive = Drive(executor, stage, Journal(stage.store), Pulse("squares", planned=5), Meter("squares", 5))
    with stage.store.exclusive():
        drive.run(stage.plan())
    assert drive.pulse.done == 5
    assert workers.stopped, "the hanging attempt is ended when the one beside it has made the unit"
