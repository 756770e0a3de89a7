"""The driver of one stage: keep workers busy, journal what they finish, try again, start stragglers twice, give up."""

import statistics
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count

from pipeline.engine.executor import Executor, Workers
from pipeline.engine.perform import Outcome, commit
from pipeline.engine.pulse import Pulse, PulseFile
from pipeline.stage import Stage, Unit
from winnow.account import Account
from winnow.errors import StorageError
from winnow.journal import Journal
from winnow.patience import impatient
from winnow.progress import Meter, console

__all__ = ["Drive"]

TICK = 0.5
"""Seconds between two looks at the clock while nothing ends."""
ENOUGH = 3
"""Finished attempts that tell how long one takes."""
REMEMBERED = 1000
"""Finished attempts whose times make the median."""
FAILED = 10
"""Units that must have failed for good before their share is judged."""
LOST = 10
"""How often an attempt at one unit may be lost with its machine."""


@dataclass
class Drive:
    """Make units with the workers of an executor; afterwards the fields tell what became of them."""

    executor: Executor
    """With the stage's own values, see `Executor.for_stage`."""
    stage: Stage
    journal: Journal
    pulse: Pulse
    meter: Meter
    check: Callable[[], None] = lambda: None
    """Raises when the folder is another driver's by now."""
    quarantined: dict[str, str] = field(default_factory=dict)
    """Unit -> its last error, after all attempts."""
    counts: Counter[str] = field(default_factory=Counter)
    """Summed counts of the products made."""
    accounts: dict[str, Account] = field(default_factory=dict)
    """Unit of counting -> merged accounts of the products made."""
    stopped: str = ""
    """Why the stage was given up before its end, "" when it was not."""

    def __post_init__(self) -> None:
        """Start from nothing."""
        self.queue: deque[Unit] = deque()
        self.flight: dict[int, Unit] = {}
        self.second: set[str] = set()
        self.tries: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.times: deque[float] = deque(maxlen=REMEMBERED)
        self.numbers = count()
        self.file = PulseFile(self.stage.store, self.pulse)
        self.waits = False
        self._beat(now=True)

    def run(self, todo: list[Unit]) -> None:
        """Keep at most `capacity` attempts in flight until every unit is done or out of attempts.

        Raises:
            StorageError: the storage was away for too long, or refuses us: what is not done is left to the next run.
        """
        self.queue.extend(todo)
        try:
            with self.executor.open(self.stage) as workers:
                while (self.queue or self.flight) and not self.stopped:
                    self.check()
                    self._fill(workers)
                    if (found := workers.next(TICK)) is not None:
                        self._settle(workers, *found)
                    self._watch(workers)
                    self._beat(workers)
                self._beat(workers, now=True)
        finally:
            self.pulse.ended = True
            self._beat(now=True)

    def _fill(self, workers: Workers) -> None:
        """Hand out units while workers are free."""
        while self.queue and len(self.flight) < workers.capacity:
            unit = self.queue.popleft()
            for product in unit.products:  # from here on its old files may be replaced one by one
                self.journal.forget(product)
            self._submit(workers, unit)

    def _submit(self, workers: Workers, unit: Unit, apart: int | None = None) -> None:
        attempt = next(self.numbers)
        self.flight[attempt] = unit
        workers.submit(attempt, unit, apart)

    def _settle(self, workers: Workers, attempt: int, outcome: Outcome) -> None:
        """Take note of an attempt that has ended: the first success counts, the last failure does."""
        unit = self.flight.pop(attempt)
        others = [number for number, other in self.flight.items() if other.name == unit.name]
        outcome = commit(self.stage.store, outcome)
        if not outcome.error:
            try:
                self._record(outcome)
            except OSError as error:  # the journal's disk is full: without a row the unit is not done
                outcome = Outcome(unit, error=f"{type(error).__name__}: {error}")
        if outcome.error:
            self._failed(workers, unit, outcome, others)
            return
        self._end(workers, others)
        self.times.append(sum(row.seconds for row in outcome.rows))  # as the worker saw it, which no wait distorts

    def _failed(self, workers: Workers, unit: Unit, outcome: Outcome, others: list[int]) -> None:
        """Try a unit again, leave it to the other attempt at it, or give it up."""
        if outcome.trouble is not None:
            outcome = self._judge(outcome, outcome.trouble)
        name = unit.name
        (self.lost if outcome.blameless else self.tries)[name] += 1
        if not (outcome.final or self.tries[name] >= self.executor.attempts or self.lost[name] >= LOST):
            self.pulse.retries += 1
            self.meter.advance(retries=1)
            if not self.pulse.done and self.pulse.retries >= FAILED * self.executor.attempts:
                self.stopped = f"the first {self.pulse.retries} attempts all failed, the last with: {outcome.error}"
            if not others:
                self.second.discard(name)
                self.queue.append(unit)
            return
        self._end(workers, others)
        self.quarantined[name] = outcome.error
        self.pulse.quarantined += 1
        self._write_note(outcome, self.tries[name] + self.lost[name])
        self.meter.advance(units=1)
        ended = len(self.quarantined) + self.pulse.done + self.pulse.skipped
        if len(self.quarantined) >= FAILED and len(self.quarantined) > self.executor.max_failed * ended:
            self.stopped = f"{len(self.quarantined)} of {ended} units failed (executor.max_failed)"

    def _judge(self, outcome: Outcome, trouble: StorageError) -> Outcome:
        """Tell the trouble of one worker with the storage, or of one file, from that of the whole run.

        Raises:
            StorageError: it is the run's: no other unit would fare better.
        """
        if trouble.transient:
            if not self.stage.store.answers():
                raise trouble
            return replace(outcome, blameless=True)
        if not self.pulse.done:
            raise trouble
        return replace(outcome, final=True)

    def _end(self, workers: Workers, attempts: list[int]) -> None:
        """End attempts that nobody waits for any more."""
        for attempt in attempts:
            del self.flight[attempt]
            workers.stop(attempt)

    def _watch(self, workers: Workers) -> None:
        """End attempts that take too long; start stragglers a second time when workers have nothing else to do."""
        now, limit = time.monotonic(), self.executor.unit_timeout
        ages = {attempt: now - since for attempt, since in workers.running().items() if attempt in self.flight}
        for attempt in [attempt for attempt, age in ages.items() if limit is not None and age > limit]:
            if attempt not in self.flight:  # ended with the other attempt at its unit
                continue
            workers.stop(attempt)
            error = f"took longer than {limit:g} s (executor.unit_timeout)"
            self._settle(workers, attempt, Outcome(self.flight[attempt], error=error))
        if self.queue or self.executor.straggler is None or len(self.times) < ENOUGH or not self._may_double():
            return
        limit = max(self.executor.straggler * statistics.median(self.times), TICK)
        for attempt in sorted(ages, key=lambda attempt: -ages[attempt]):
            unit = self.flight.get(attempt)
            if ages[attempt] < limit or len(self.flight) >= workers.capacity:
                return
            if unit is not None and unit.name not in self.second:
                self.second.add(unit.name)
                self._submit(workers, unit, apart=attempt)

    def _may_double(self) -> bool:
        """Tell whether two attempts are harmless: the driver alone names files, or both make the same bytes."""
        return self.stage.store.is_local or self.stage.reproducible

    def _record(self, outcome: Outcome) -> None:
        """Journal the rows of a finished unit: only now do its products count."""
        for row in outcome.rows:
            self.journal.append(row)
        for row in outcome.rows:
            self.counts.update({kind: number for kind, number in row.counts.items() if kind != "samples"})
        for row in outcome.rows:
            if row.account:
                account = Account.of(row.account)
                self.accounts.setdefault(account.unit, Account(account.unit)).add(account)
        # products of one shard ("score/clip/00003", "score/ocr/00003") speak of the same samples
        shards: dict[str, int] = {}
        for row in outcome.rows:
            shard = row.product.rpartition("/")[2]
            shards[shard] = max(shards.get(shard, 0), row.counts.get("samples", 0))
        samples = sum(shards.values())
        self.counts["samples"] += samples
        self.pulse.done += 1
        self.pulse.samples += samples
        self.meter.advance(units=1, samples=samples)

    def _write_note(self, outcome: Outcome, attempts: int) -> None:
        """Leave the last error of a unit in the store, for whoever has to mend it."""
        text = f"{outcome.error}\n\nafter {attempts} attempts\n\n{outcome.detail}"
        name = f"quarantine/{self.stage.name}~{outcome.unit.name.replace('/', '~')}.txt"
        with suppress(OSError, StorageError), impatient():  # the disk is full: the summary tells the error too
            self.stage.store.write(name, text.encode())

    def _beat(self, workers: Workers | None = None, *, now: bool = False) -> None:
        """Tell how far the stage is, for those who watch; neither a full disk nor a store that is away ends it here."""
        self.pulse.in_flight = len(self.flight)
        self.pulse.failures = {kind: number for kind, number in self.counts.items() if kind != "samples" and number}
        told = self.file.beat(now=now)
        if self.waits != bool(self.file.trouble) and not self.stage.store.is_local:
            self.waits = not self.waits
            wait = f"does not answer; units wait for it, for up to {self.stage.storage.retry_for:g} s"
            console.print(f"  {self.stage.store.url} {wait if self.waits else 'answers again'}", markup=False)
        if told and workers is not None:
            workers.report(self.pulse)
