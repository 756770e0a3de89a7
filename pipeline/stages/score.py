"""Score every sample of the pool: one unit a shard, one decode an image, one column file a scorer."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field, PrivateAttr, model_validator

from filters.scorer import Scorer, settings_of
from filters.shared_batch import SharedBatch
from pipeline.pools.samples import decoded_batches
from pipeline.stage import Product, Stage, Unit
from winnow.columns import ColumnWriter, column_path, read_column_file
from winnow.component import build, digest
from winnow.errors import StorageError, UserError, unknown
from winnow.pool import pool_shards

__all__ = ["Score"]


class Score(Stage):
    """Run the configured scorers over the pool; only what is missing is computed.

    Columns are append-only: the files of scorers that the config no longer names stay.
    """

    name: ClassVar[str] = "score"
    home: ClassVar[str] = "pool"

    scorers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Key, which names the folder of the columns -> a scorer's fields; `use` names its file where the key does not."""
    batch_size: int = Field(default=64, ge=1)
    """Samples that are decoded together; two such batches are in memory."""
    decode_threads: int = Field(default=2, ge=1)
    """Threads that decode the next batch while the scorers work on this one."""

    _ready: set[str] = PrivateAttr(default_factory=set)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _build(self.scorers)  # finds the mistakes of every scorer before anything runs
        return self

    @cached_property
    def built(self) -> dict[str, Scorer]:
        """The scorers, each after those it needs, bound to them.

        Raises:
            UserError: a scorer needs one that is not configured, or two need each other.
        """
        return _build(self.scorers)

    def scope(self) -> tuple[str, ...]:
        """Own the products of the configured scorers alone."""
        return tuple(f"score/{key}/" for key in self.scorers)

    def plan(self) -> list[Unit]:
        """Return one unit per shard; its products are the column files of the scorers."""
        settings = {key: settings_of(scorer, scorer.identity()) for key, scorer in self.built.items()}
        units = []
        for shard in pool_shards(self.store):
            keys: dict[str, str] = {}
            for key, scorer in self.built.items():
                keys[key] = digest(settings[key], [keys[need] for need in scorer.needs()], shard.fingerprint)
            units.append(
                Unit(
                    name=shard.name,
                    products={f"score/{key}/{shard.name}": value for key, value in keys.items()},
                    spec={"tar": shard.tar, "settings": settings},
                )
            )
        return units

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Score one shard with the scorers whose products are missing."""
        missing = {key: self.built[key] for key in self.built if f"score/{key}/{unit.name}" in unit.products}
        self._make_ready(missing, unit)
        stored = self._stored(missing, unit.name)
        writers = {key: ColumnWriter() for key in missing}
        uids: list[str] = []
        with_images = any(scorer.wants_images for scorer in missing.values())
        for samples in decoded_batches(
            self.store, unit.spec["tar"], batch_size=self.batch_size, threads=self.decode_threads, images=with_images
        ):
            shared = SharedBatch(samples, stored, start=len(uids))
            for key, scorer in missing.items():
                rows, batch = shared.batch_for(key, scorer)
                try:
                    columns = scorer.score(batch)
                except (UserError, StorageError):
                    raise
                except Exception as error:  # most likely one sample's fault: find it and record the reason
                    rows, columns = shared.score_singly(key, scorer, rows, error)
                shared.publish(key, rows, columns)
                writers[key].add([len(uids) + row for row in rows], columns)
                for row, reason in shared.errors[key].items():
                    writers[key].fail(len(uids) + row, reason)
            uids += [sample.uid for sample in samples]
        return {f"score/{key}/{unit.name}": self._write(writers[key], uids, key, unit, attempt) for key in missing}

    def _make_ready(self, scorers: Mapping[str, Scorer], unit: Unit) -> None:
        """Load the models of the scorers that this unit runs, once in each worker.

        Not in `setup`: a rerun that lacks one scorer's columns must not load the models of all the others.

        Raises:
            UserError: this machine would compute other columns than the one that planned, so their keys would lie.
        """
        for key, scorer in scorers.items():
            if key in self._ready:
                continue
            planned, here = unit.spec["settings"][key], settings_of(scorer, scorer.identity())
            if planned != here:
                raise UserError(
                    f"scorer {key!r} would compute other columns here than planned (planned {planned['identity']}, "
                    f"here {here['identity']}): workers see other weights or other processors than the driver; "
                    "set the scorer's `precision` to a fixed value and let all machines read the same files"
                )
            scorer.setup()
            self._ready.add(key)

    def _stored(self, scorers: Mapping[str, Scorer], shard: str) -> dict[str, pa.Table]:
        """Read the column files of scorers that are needed and already finished."""
        needs = {need for scorer in scorers.values() for need in scorer.needs()}
        return {need: read_column_file(self.store, need, shard) for need in sorted(needs - set(scorers))}

    def _write(self, writer: ColumnWriter, uids: list[str], key: str, unit: Unit, attempt: Path) -> Product:
        """Write a scorer's column file into the attempt folder."""
        path = attempt / f"{key}.parquet"
        writer.write(path, uids, {"name": key, **unit.spec["settings"][key]})
        counts = {"samples": len(uids), "failed": len(writer.errors)}
        return Product(files={column_path(key, unit.name): path}, counts=counts)


def _build(specs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Scorer]:
    """Build the scorers, each after those it needs, bound to them."""
    scorers: dict[str, Scorer] = {
        key: build("filters.scorers", spec or {}, key, "score.scorers") for key, spec in specs.items()
    }
    ordered: dict[str, Scorer] = {}
    for key in scorers:
        _place(key, scorers, ordered, ())
    for scorer in ordered.values():
        scorer.bind({need: ordered[need] for need in scorer.needs()})
    return ordered


def _place(key: str, scorers: Mapping[str, Scorer], ordered: dict[str, Scorer], path: tuple[str, ...]) -> None:
    """Append a scorer to `ordered`, after the scorers it needs (depth first).

    Args:
        key: the scorer to place.
        scorers: all that are configured.
        ordered: those placed so far.
        path: the scorers whose needs led here, for the error about a circle.
    """
    if key in path:
        raise UserError(f"score.scorers: {' -> '.join((*path, key))}: scorers need each other in a circle")
    for need in scorers[key].needs():
        if need not in scorers:
            raise UserError(f"score.scorers.{key}: {unknown('scorer it needs', need, scorers)}")
        _place(need, scorers, ordered, (*path, key))
    ordered.setdefault(key, scorers[key])
