"""Run stages: plan, skip what is done, keep workers busy, journal what they finish, retry, quarantine, sum up."""

import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace

from pipeline.config import RunConfig
from pipeline.executor import Executor
from pipeline.perform import Outcome
from pipeline.stage import Stage, Unit
from winnow.journal import Journal
from winnow.progress import Meter, console, duration

__all__ = ["Summary", "pending", "run_stage"]

MAX_ERRORS_SHOWN = 3
MAX_KINDS_SHOWN = 8


@dataclass
class Summary:
    """What became of a stage."""

    stage: str
    planned: int = 0
    """Units of the stage."""
    skipped: int = 0
    """Units that were done before."""
    done: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    """Unit -> its last error, after all attempts."""
    counts: Counter[str] = field(default_factory=Counter)
    """Summed counts of the products made by this run."""
    seconds: float = 0.0

    def line(self) -> str:
        """Return one line: counts, rate, failures by kind."""
        parts = [f"[bold]{self.stage:<10}[/bold]"]
        if self.done == 0 and not self.quarantined:
            return f"{parts[0]} nothing to do, {self.skipped} of {self.planned} units are done"
        parts.append(f"{self.done} units" + (f" (+{self.skipped} done before)" if self.skipped else ""))
        if samples := self.counts["samples"]:
            parts.append(f"{samples:,} samples at {samples / max(self.seconds, 1e-9):,.0f}/s")
        parts.append(duration(self.seconds))
        kinds = [(kind, count) for kind, count in self.counts.most_common() if kind != "samples" and count]
        parts += [f"{kind} {count:,}" for kind, count in kinds[:MAX_KINDS_SHOWN]]
        if self.quarantined:
            parts.append(f"[red]{len(self.quarantined)} quarantined[/red]")
        return parts[0] + " " + " · ".join(parts[1:])


def pending(units: list[Unit], journal: Journal) -> list[Unit]:
    """Return the units with something left to do, each reduced to the products that are missing or stale."""
    left = []
    for unit in units:
        missing = {product: key for product, key in unit.products.items() if not journal.done(product, key)}
        if missing:
            left.append(replace(unit, products=missing))
    return left


def run_stage(config: RunConfig, name: str) -> Summary:
    """Bring one stage up to date.

    Raises:
        UserError: the stage cannot be planned: an input is missing or a reference in the config is wrong.
    """
    stage = config.stages[name]
    start = time.monotonic()
    with stage.store.exclusive():
        units = stage.plan()
        journal = Journal(stage.store)
        _retire(stage, units, journal)
        todo = pending(units, journal)
        summary = Summary(name, planned=len(units), skipped=len(units) - len(todo))
        if todo:
            with stage.session() as live, Meter(name, len(todo)) as meter:
                _drive(config.executor, live, todo, journal, summary, meter)
    summary.seconds = time.monotonic() - start
    console.print(summary.line())
    for unit, error in list(summary.quarantined.items())[:MAX_ERRORS_SHOWN]:
        console.print(f"  [red]{name}/{unit}[/red]: {error}", markup=True)
    return summary


def _drive(
    executor: Executor, stage: Stage, todo: list[Unit], journal: Journal, summary: Summary, meter: Meter
) -> None:
    """Keep at most `capacity` units in flight until each is done or out of attempts."""
    queue = deque(todo)
    in_flight = 0
    tries: Counter[str] = Counter()
    with executor.open(stage) as workers:
        while queue or in_flight:
            while queue and in_flight < workers.capacity:
                unit = queue.popleft()
                for product in unit.products:  # from here on its old files may be replaced one by one
                    journal.forget(product)
                workers.submit(unit)
                in_flight += 1
            outcome = workers.next()
            in_flight -= 1
            tries[outcome.unit.name] += 1
            if not outcome.error:
                _record(outcome, journal, summary, meter)
            elif outcome.final or tries[outcome.unit.name] >= executor.attempts:
                summary.quarantined[outcome.unit.name] = outcome.error
                _quarantine(outcome, stage, tries[outcome.unit.name])
                meter.advance(units=1)
            else:
                queue.append(outcome.unit)
                meter.advance(retries=1)


def _record(outcome: Outcome, journal: Journal, summary: Summary, meter: Meter) -> None:
    """Journal the rows of a finished unit: only now do its products count."""
    for row in outcome.rows:
        journal.append(row)
        summary.counts.update({kind: count for kind, count in row.counts.items() if kind != "samples"})
    # products of one shard ("score/clip/00003", "score/ocr/00003") speak of the same samples
    shards: dict[str, int] = {}
    for row in outcome.rows:
        shard = row.product.rpartition("/")[2]
        shards[shard] = max(shards.get(shard, 0), row.counts.get("samples", 0))
    samples = sum(shards.values())
    summary.counts["samples"] += samples
    summary.done += 1
    meter.advance(units=1, samples=samples)


def _quarantine(outcome: Outcome, stage: Stage, attempts: int) -> None:
    """Leave the last error of a unit in the store, for whoever has to mend it."""
    text = f"{outcome.error}\n\nafter {attempts} attempts\n\n{outcome.detail}"
    stage.store.write(f"quarantine/{stage.name}~{outcome.unit.name.replace('/', '~')}.txt", text.encode())


def _retire(stage: Stage, units: list[Unit], journal: Journal) -> None:
    """Forget products that this stage owns and no longer plans: a removed strategy, the tail of a shrunk pool."""
    planned = {product for unit in units for product in unit.products}
    for prefix in stage.scope():
        for row in journal.under(prefix):
            if row.product not in planned:
                journal.forget(row.product)
