"""Bring scores and embeddings that other programs wrote into the pool's columns, joined by identity."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.attachment import IDENTITY, Attachment, By, identities
from pipeline.attachments._join import Join
from pipeline.stage import Product, Stage, Unit
from winnow.columns import column_path, write_columns
from winnow.component import build, digest
from winnow.errors import UserError
from winnow.pool import PoolTable, pool_tables, read_columns
from winnow.storage import Store
from winnow.uid import to_arrow

__all__ = ["Attach"]


class Attach(Stage):
    """Write `columns/<key>/<shard>.parquet` from each source, one row per sample of the shard, as a scorer would.

    A unit is one source and some shards. It reads the identity of every row of the source, piece by piece, and the
    other columns only of pieces with a row that its shards hold; those rows go to a file in the attempt folder and from
    there, shard by shard, into place. Order and sharding of the source do not matter; where they are about those of
    the pool, every column is read about once. Memory: one piece, and 40 bytes for each sample of the unit.
    """

    name: ClassVar[str] = "attach"
    home: ClassVar[str] = "pool"

    sources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Key, which names the folder of the columns -> fields; `use` names a file of pipeline/attachments/."""
    shards_per_unit: int = Field(default=64, ge=1)
    """Shards that are filled in one pass over a source."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _build(self.sources)  # finds the mistakes of every source before anything runs
        return self

    @cached_property
    def built(self) -> dict[str, Attachment]:
        """The sources by key."""
        return _build(self.sources)

    def scope(self) -> tuple[str, ...]:
        """Own the products of the configured sources alone."""
        return tuple(f"score/{key}/" for key in self.sources)

    def plan(self) -> list[Unit]:
        """Return one unit per source and group of shards; its products are the column files.

        Raises:
            UserError: a source's files are not there, or do not tell which sample a row belongs to.
        """
        tables = pool_tables(self.store)
        units = []
        for key, source in self.built.items():
            content, by = source.fingerprint(), source.identity()
            for start in range(0, len(tables), self.shards_per_unit):
                group = tables[start : start + self.shards_per_unit]
                products = {f"score/{key}/{t.name}": digest("attach", content, by, t.fingerprint) for t in group}
                spec = {"source": key, "content": content, "by": by}
                units.append(Unit(name=f"{key}/{group[0].name}", products=products, spec=spec))
        return units

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Fill the column files of some shards from one source."""
        key, by = unit.spec["source"], unit.spec["by"]
        tables = [table for table in pool_tables(self.store) if f"score/{key}/{table.name}" in unit.products]
        samples = [_samples(self.store, table, by) for table in tables]
        join = Join(np.concatenate([ids for _, ids in samples]), attempt / "found.arrow")
        for piece in self.built[key].pieces():
            join.add(piece)
        settings = {
            "name": key,
            "attachment": type(self.built[key]).__module__,
            "fields": self.built[key].model_dump(mode="json"),
            "identity": {"content": unit.spec["content"], "by": by},
        }
        products = {}
        with join.finish() as found:
            for table, (uids, ids) in zip(tables, samples, strict=True):
                columns, has = found.rows(ids)
                errors = pa.array([None if found_here else f"not in {key}" for found_here in has], pa.string())
                path = attempt / f"{table.name}.parquet"
                write_columns(path, to_arrow(uids), columns, errors, settings)
                counts = {"samples": len(ids), "found": int(has.sum()), f"not in {key}": int((~has).sum())}
                product = Product(files={column_path(key, table.name): path}, counts=counts)
                products[f"score/{key}/{table.name}"] = product
        return products


def _build(specs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Attachment]:
    """Build the sources, by key."""
    return {key: build("pipeline.attachments", spec or {}, key, "attach.sources") for key, spec in specs.items()}


def _samples(pool: Store, table: PoolTable, by: By) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return the uid of every sample of a shard and what the join compares, (n,) each."""
    if by == "uid":
        _, uids = read_columns(pool, table)
        return uids, uids
    with pool.open(table.table) as file:
        names = set(pq.read_schema(file).names)
    theirs = {"text": "caption" if "caption" in names else "text"}
    needs = {ours: theirs.get(ours, ours) for ours in (("url", "text") if by == "hash" else IDENTITY[by])}
    if by == "key" and "key" not in names:
        raise UserError(f"{table.table!r} has no keys yet: download the pool, or attach something with uids")
    have, uids = read_columns(pool, table, sorted(names.intersection(needs.values())))
    nothing = pa.nulls(len(uids), pa.string())  # a pool without captions is known by its urls
    parts = {ours: have[name] if name in have.column_names else nothing for ours, name in needs.items()}
    return uids, identities(by, pa.table(parts))[0]
