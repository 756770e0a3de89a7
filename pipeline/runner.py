"""Run stages: plan, skip what is done, have the rest made, sum up."""

import time
from collections import Counter
from dataclasses import dataclass, field, replace

from pipeline.config import RunConfig
from pipeline.engine.drive import Drive
from pipeline.engine.pulse import Pulse, PulseFile
from pipeline.stage import Stage, Unit
from winnow.account import Account
from winnow.journal import Journal
from winnow.progress import Meter, console, duration
from winnow.storage import Sizes

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
    stopped: str = ""
    """Why the stage was given up before its end, "" when it was not."""
    counts: Counter[str] = field(default_factory=Counter)
    """Summed counts of the products made by this run."""
    accounts: dict[str, Account] = field(default_factory=dict)
    """What was read, kept and left out, by unit of counting."""
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

    def errors(self) -> list[str]:
        """Return a line for each error, the most frequent first, with the units that had it."""
        units: dict[str, list[str]] = {}
        for unit, error in self.quarantined.items():
            units.setdefault(error, []).append(unit)
        lines = []
        for error, names in sorted(units.items(), key=lambda item: -len(item[1])):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(f"{self.stage}/{names[0]}{more}: {error}")
        return lines


def pending(units: list[Unit], journal: Journal) -> list[Unit]:
    """Return the units with something left to do, each reduced to the products that are missing or stale."""
    left, sizes = [], Sizes(journal.store)
    for unit in units:
        missing = {product: key for product, key in unit.products.items() if not journal.done(product, key, sizes)}
        if missing:
            left.append(replace(unit, products=missing))
    return left


def run_stage(config: RunConfig, name: str, take_over: bool = False) -> Summary:
    """Bring one stage up to date.

    Args:
        config: the run's.
        name: of the stage.
        take_over: an object store from a command that may still write there, see `Store.exclusive`.

    Raises:
        UserError: the stage cannot be planned: an input is missing or a reference in the config is wrong. Or another
            command writes to its folder, or has taken it over.
        StorageError: object storage was away for too long, or refuses us.
    """
    stage = config.stages[name]
    start = time.monotonic()
    with stage.store.exclusive(take_over) as check:
        units = stage.plan()
        journal = Journal(stage.store)
        _retire(stage, units, journal)
        todo = pending(units, journal)
        for note in stage.store.list("quarantine", ".txt"):
            if note.startswith(f"quarantine/{name}~"):  # what failed is tried again
                stage.store.remove(note)
        summary = Summary(name, planned=len(units), skipped=len(units) - len(todo))
        pulse = Pulse(name, planned=len(units), skipped=summary.skipped)
        if todo:
            with stage.session() as live, Meter(name, len(todo)) as meter:
                drive = Drive(config.executor.for_stage(stage), live, journal, pulse, meter, check)
                drive.run(todo)
            summary.done, summary.counts, summary.accounts = pulse.done, drive.counts, drive.accounts
            summary.quarantined, summary.stopped = drive.quarantined, drive.stopped
        else:
            PulseFile(stage.store, pulse).end()
        journal.tidy()
    summary.seconds = time.monotonic() - start
    console.print(summary.line())
    for line in summary.errors()[:MAX_ERRORS_SHOWN]:
        console.print(f"  {line}", style="red", markup=False)
    for account in summary.accounts.values():
        for line in account.lines():
            console.print(f"  {line}", markup=False)
    for line in stage.remarks():
        console.print(f"  {line}", style="yellow", markup=False)
    return summary


def _retire(stage: Stage, units: list[Unit], journal: Journal) -> None:
    """Forget products that this stage owns and no longer plans: a removed strategy, the tail of a shrunk pool."""
    planned = {product for unit in units for product in unit.products}
    for prefix in stage.scope():
        for row in journal.under(prefix):
            if row.product not in planned:
                journal.forget(row.product)
