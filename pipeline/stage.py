"""The stage role: a list of units, each one idempotent call from files to files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field

from winnow.account import Account
from winnow.component import Component
from winnow.journal import Journal
from winnow.patience import Storage
from winnow.storage import Store

__all__ = ["Product", "Stage", "Unit"]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What one call of `Stage.run` does: usually one shard."""

    name: str
    """Unique within the stage, "00003"."""
    products: Mapping[str, str]
    """Product -> key (hash of config and inputs). Only the products still to be made are in it when it runs."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What `run` needs to know: JSON-like and small; data travels by disk."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """What `run` made for one product: files in the attempt folder and the final names they shall get."""

    files: Mapping[str, Path]
    """Final name in the stage's store -> finished file in the attempt folder."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Named counts for the summary line; "samples" gives the rate, the others are shown by kind."""
    account: Account | None = None
    """What the reader of its input read, kept and left out, where one says so; it is shown and journalled."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Final name -> hex digest, of files that were hashed as they were written; the others are read again for it."""


class Stage(Component):
    """One step of the loop. Its fields are its section of the config plus the shared keys it declares."""

    name: ClassVar[str]
    home: ClassVar[str] = "run"
    """Which folder its products and journal live in: "pool" or "run"."""
    parallel: ClassVar[bool] = True
    """False for stages whose unit uses the whole machine; they run one unit at a time."""
    reproducible: ClassVar[bool] = True
    """False for stages whose bytes depend on the time too, as the web does."""

    pool: str
    """Folder or fsspec URL of the pool."""
    run_dir: str
    """Folder or fsspec URL of the run."""
    seed: int = 0
    storage: Storage = Field(default=Storage(), exclude=True)
    """How long workers wait for object storage. No part of what keys are made of: it changes no product."""

    @property
    def store(self) -> Store:
        """The folder its products live in."""
        return Store(self.pool if self.home == "pool" else self.run_dir)

    def upstream(self) -> Journal:
        """Return the pool's journal as it stands, for the fingerprints of inputs."""
        return Journal(Store(self.pool))

    def scope(self) -> tuple[str, ...]:
        """Return the product prefixes it owns; rows under them that are no longer planned are retired."""
        return (f"{self.name}/",)

    def plan(self) -> list[Unit]:
        """Return every unit of the stage, done or not, from what lies on disk.

        Raises:
            UserError: an input is missing, with the command that makes it.
        """
        raise NotImplementedError

    def remarks(self) -> list[str]:
        """Return what a person should know of the results, a line each; printed after the stage, done before or not."""
        return []

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Hold what must live while the stage runs (a web server), and yield the stage as the workers shall see it."""
        yield self

    def setup(self) -> None:
        """Load models, once in each worker, right before its first `run`."""

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Make the unit's products as files in the empty folder `attempt`; the caller commits and journals them.

        The same unit gives the same bytes whenever and wherever it runs, unless the stage is not `reproducible`.
        """
        raise NotImplementedError
