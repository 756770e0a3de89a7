"""What a worker does with a unit: run it in an attempt folder, and report its files and the journal rows."""

import hashlib
import shutil
import socket
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.stage import Product, Stage, Unit
from winnow.errors import StorageError, UserError
from winnow.journal import Row
from winnow.storage import Store, flush

__all__ = ["Outcome", "Worker", "commit", "perform"]


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
    blameless: bool = False
    """The attempt was lost with its machine, which says nothing about the unit."""
    trouble: StorageError | None = None
    """What the error is, if it is the storage that does not answer this worker or refuses it."""
    folder: str = ""
    """The attempt folder, if the files are still in it and not under their final names."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Final name -> the finished file in that folder."""


class Worker:
    """A stage in a worker, set up with its first unit, so that what goes wrong there is recorded like all else."""

    def __init__(self, stage: Stage, ready: bool = False) -> None:
        """Take a stage, and whether it is set up or needs no set-up."""
        self.stage = stage
        self.ready = ready
        stage.storage.apply(reached=True)

    def make(self, unit: Unit) -> Outcome:
        """Run one unit: afterwards its files are finished, flushed and hashed; no failure escapes as an exception.

        This is the boundary where any error of a stage becomes a recorded reason: the driver retries or quarantines.

        Files of a local store stay in the attempt folder until `commit`, which the one driver calls: of two attempts at
        a unit only one is ever seen, even where both would not write the same bytes, as with pictures from the web.
        Object stores have no renames; there a file is uploaded under its final name at once.
        """
        start = time.monotonic()
        folder: Path | None = None
        try:
            if not self.ready:
                self.stage.setup()
                self.ready = True
            folder = self.stage.store.begin()
            made = self.stage.run(unit, folder)
            outcome = _finish(self.stage.store, unit, made, folder, start)
        except UserError as error:
            outcome = Outcome(unit, error=str(error), final=True)
        except StorageError as error:
            text = f"{error} (said on {socket.gethostname()})"
            outcome = Outcome(unit, error=text, trouble=StorageError(text, error.transient))
        except Exception as error:
            outcome = Outcome(unit, error=f"{type(error).__name__}: {error}", detail=traceback.format_exc())
        if folder is not None and not outcome.folder:
            shutil.rmtree(folder, ignore_errors=True)
        return outcome


def perform(stage: Stage, unit: Unit) -> Outcome:
    """Make one unit, without setting the stage up, and give its files their final names."""
    return commit(stage.store, Worker(stage, ready=True).make(unit))


def _finish(store: Store, unit: Unit, made: Mapping[str, Product], folder: Path, start: float) -> Outcome:
    """Hash and flush the files of a unit, or upload them."""
    rows, held = [], {}
    for product, key in unit.products.items():
        files = {}
        for name, path in made[product].files.items():
            files[name] = (path.stat().st_size, made[product].sha256.get(name) or _sha256(path))
            if store.is_local:
                flush(path)
                held[name] = str(path)
            else:
                store.commit(path, name)
        account = made[product].account
        told = {} if account is None else account.data()
        rows.append(Row(product=product, key=key, files=files, counts=dict(made[product].counts), account=told))
    seconds = round((time.monotonic() - start) / len(rows), 3)
    rows = [replace(row, seconds=seconds) for row in rows]
    return Outcome(unit, tuple(rows), folder=str(folder) if store.is_local else "", files=held)


def commit(store: Store, outcome: Outcome) -> Outcome:
    """Give the files of a successful attempt their final names; what prevents it is a failure like any other."""
    if outcome.error or not outcome.folder:
        return outcome
    try:
        store.publish((Path(path), name) for name, path in outcome.files.items())
    except OSError as error:
        return Outcome(outcome.unit, error=f"{type(error).__name__}: {error}", detail=traceback.format_exc())
    finally:
        shutil.rmtree(outcome.folder, ignore_errors=True)
    return replace(outcome, folder="", files={})


def _sha256(path: Path) -> str:
    """Return the hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
