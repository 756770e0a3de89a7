"""What the driver makes of workers whose storage is away or refuses them, and of a folder that is another's by now."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from object_store import bucket_behind
from squares import Squares

from pipeline.engine.drive import LOST, Drive
from pipeline.engine.executor import Executor, Workers
from pipeline.engine.perform import Outcome, Worker
from pipeline.engine.pulse import Pulse, PulseFile, read_pulse
from pipeline.stage import Unit
from winnow.errors import StorageError, UserError
from winnow.journal import Journal
from winnow.progress import Meter
from winnow.storage import Store

AWAY = StorageError("no answer (said on there)", transient=True)
REFUSED = StorageError("access is denied (said on there)")


class Troubled(Executor):
    """One worker, which has trouble with the units that `troubles` names, in each of their attempts."""

    troubles: Any = None

    @contextmanager
    def open(self, stage: Any) -> Iterator[Workers]:
        yield _One(stage, self.troubles)


class _One(Workers):
    capacity = 1

    def __init__(self, stage: Squares, troubles: Mapping[str, StorageError]) -> None:
        self.worker, self.troubles = Worker(stage), troubles
        self.waiting: list[tuple[int, Unit]] = []

    def submit(self, attempt: int, unit: Unit, apart: int | None = None) -> None:
        self.waiting.append((attempt, unit))

    def next(self, timeout: float) -> tuple[int, Outcome] | None:
        attempt, unit = self.waiting.pop()
        trouble = self.troubles.get(unit.name)
        return attempt, Outcome(unit, error=str(trouble), trouble=trouble) if trouble else self.worker.make(unit)

    def running(self) -> Mapping[int, float]:
        return {}

    def stop(self, attempt: int) -> None:
        raise AssertionError("nothing is at work")

    def report(self, pulse: Pulse) -> None:
        pass


def drive(url: str, troubles: dict[str, StorageError], check: Callable[[], None] = lambda: None) -> Drive:
    """Return a driver of five units with such workers."""
    stage = Squares(pool=url, run_dir=url)
    executor = Troubled(troubles=troubles, attempts=2, straggler=None)
    pulse = Pulse("squares", planned=len(stage.numbers))
    return Drive(executor, stage, Journal(stage.store), pulse, Meter("squares", 5), check)


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}"


def test_one_worker_that_cannot_reach_the_storage_is_like_a_lost_machine(url: str) -> None:
    driver = drive(url, {"2": AWAY})
    driver.run(driver.stage.plan())
    assert driver.quarantined == {"2": str(AWAY)}
    assert (driver.pulse.done, driver.pulse.retries) == (4, LOST - 1)


def test_storage_that_is_away_for_the_driver_too_ends_the_run_and_quarantines_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bucket_behind(monkeypatch) as (bucket, line):
        driver = drive(f"{bucket}/run", {"1": AWAY})
        line.cut()
        with pytest.raises(StorageError, match="no answer") as caught:
            driver._settle(_One(driver.stage, {}), *_flown(driver, "1"))  # type: ignore[arg-type]
        assert caught.value.transient
        assert not driver.quarantined
        line.restore()
        assert Store(f"{bucket}/run").list("quarantine") == []


def test_what_is_refused_before_anything_was_done_ends_the_run(url: str) -> None:
    driver = drive(url, {"1": REFUSED})
    with pytest.raises(StorageError, match="denied"):
        driver.run(driver.stage.plan())
    assert Store(url).list("quarantine") == []
    assert read_pulse(Store(url), "squares").ended  # type: ignore[union-attr]


def test_what_is_refused_later_is_of_one_file(url: str) -> None:
    driver = drive(url, {"3": REFUSED})
    driver.run(driver.stage.plan())
    assert driver.quarantined == {"3": str(REFUSED)}
    assert driver.pulse.retries == 0, "it is not tried again"
    assert Store(url).list("quarantine") == ["quarantine/squares~3.txt"]


def test_a_folder_that_is_taken_over_is_left(url: str) -> None:
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise UserError("taken over")

    driver = drive(url, {}, check)
    with pytest.raises(UserError, match="taken over"):
        driver.run(driver.stage.plan())
    assert driver.pulse.done == 2
    assert len(Journal(Store(url)).rows) == 2


def test_heartbeats_of_a_store_that_is_away_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with bucket_behind(monkeypatch) as (bucket, line):
        file = PulseFile(Store(f"{bucket}/run"), Pulse("squares"))
        line.cut()
        assert file.beat(now=True)
        assert file.aside is not None
        file.aside.join()
        assert "no answer" in file.trouble
        line.restore()
        file.end()
        assert file.trouble == ""
        assert read_pulse(Store(f"{bucket}/run"), "squares").ended  # type: ignore[union-attr]


def _flown(driver: Drive, name: str) -> tuple[int, Outcome]:
    """Return the end of an attempt in flight that had trouble."""
    unit = next(unit for unit in driver.stage.plan() if unit.name == name)
    driver.flight[0] = unit
    return 0, Outcome(unit, error=str(AWAY), trouble=AWAY)
