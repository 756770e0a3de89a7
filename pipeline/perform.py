"""What a worker does with a unit: run it in an attempt folder, commit its files, report the journal rows."""

import hashlib
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from pipeline.stage import Stage, Unit
from winnow.errors import UserError
from winnow.journal import Row

__all__ = ["Outcome", "perform"]


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a unit ended."""

    unit: Unit
    rows: tuple[Row, ...] = ()
    """The rows to journal; empty when it failed."""
    error: str = ""
    """One line, "" when it succeeded."""
    detail: str = ""
    """The traceback of a failure."""
    final: bool = False
    """The error is one that another attempt cannot mend."""


def perform(stage: Stage, unit: Unit) -> Outcome:
    """Run one unit. Its files have their final names when this returns, and no failure escapes as an exception.

    This is the boundary where any error of a stage becomes a recorded reason: the driver retries or quarantines.
    """
    start = time.monotonic()
    try:
        store = stage.store
        with store.attempt() as attempt:
            made = stage.run(unit, attempt)
            rows = []
            for product, key in unit.products.items():
                files = {}
                for name, path in made[product].files.items():
                    files[name] = (path.stat().st_size, _sha256(path))
                    store.commit(path, name)
                rows.append((product, key, files, dict(made[product].counts)))
        seconds = round((time.monotonic() - start) / len(rows), 3)
        return Outcome(unit, tuple(Row(product=p, key=k, files=f, counts=c, seconds=seconds) for p, k, f, c in rows))
    except UserError as error:
        return Outcome(unit, error=str(error), final=True)
    except Exception as error:
        return Outcome(unit, error=f"{type(error).__name__}: {error}", detail=traceback.format_exc())


def _sha256(path: Path) -> str:
    """Return the hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
