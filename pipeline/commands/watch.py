"""Watch a run from anywhere: what its drivers have written about each stage, as a table that refreshes itself."""

import time
from dataclasses import dataclass

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.config import RunConfig
from pipeline.engine.pulse import EVERY, Pulse, read_pulse
from winnow.progress import console, duration

__all__ = ["follow", "table"]

SILENT = 12 * EVERY
"""Seconds without a pulse after which a driver is taken for dead or stuck."""
REFRESH = 2.0
SHOWN_FAILURES = 3


@dataclass(frozen=True)
class _State:
    """A stage and what its driver said last."""

    stage: str
    pulse: Pulse | None
    now: float

    @property
    def finished(self) -> bool:
        """Nothing of the stage is left to do, and no driver is at it."""
        return self.pulse is not None and self.pulse.ended and not self.pulse.left and not self.pulse.quarantined

    def words(self) -> str:
        """Say what the stage is doing."""
        if self.pulse is None:
            return "not begun"
        ago = duration(max(0.0, self.now - self.pulse.updated))
        if self.finished:
            return f"done {ago} ago"
        if self.pulse.ended:
            return f"ended {ago} ago"
        if self.now - self.pulse.updated > SILENT:
            return f"no sign of its driver ({self.pulse.host}) for {ago}"
        return "running"

    def row(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        pulse = self.pulse
        if pulse is None:
            return (self.stage, "", "", "", "", "", "", self.words())
        running = self.words() == "running"
        left = pulse.seconds_left if running else None
        failures = sorted(pulse.failures.items(), key=lambda item: -item[1])[:SHOWN_FAILURES]
        return (
            self.stage,
            f"{pulse.skipped + pulse.done:,} / {pulse.planned:,}",
            f"{pulse.units_per_second * 60:,.1f}/min" if running else "",
            f"{pulse.samples_per_second:,.0f}/s" if running and pulse.samples else "",
            f"{duration(left)} ({time.strftime('%a %H:%M', time.localtime(self.now + left))})" if left else "",
            f"{pulse.quarantined:,}" if pulse.quarantined else "",
            ", ".join(f"{kind} {number:,}" for kind, number in failures),
            self.words() + (f", {pulse.retries:,} tried again" if pulse.retries else ""),
        )


def table(config: RunConfig) -> tuple[Table, bool]:
    """Return the table of all stages as of now, and whether all of them are finished."""
    now = time.time()
    states = [_State(name, read_pulse(stage.store, name), now) for name, stage in config.stages.items()]
    out = Table("stage", "units", "rate", "samples", "left", "quarantined", "counts", "state", box=None)
    for state in states:
        out.add_row(*(Text(cell) for cell in state.row()))
    return out, all(state.finished for state in states)


def follow(config: RunConfig) -> None:
    """Show the table until every stage is finished or the user has seen enough."""
    hint = Text("Ctrl-C ends the watching, not the run.", style="dim")
    with Live(console=console, auto_refresh=False) as live:
        while True:
            shown, finished = table(config)
            live.update(Group(shown, hint), refresh=True)
            if finished:
                return
            try:
                time.sleep(REFRESH)
            except KeyboardInterrupt:
                return
