"""Score every sample against the whole pool: columns of all shards in, a column file for each of them out."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, model_validator

from filters.pool_scorer import PoolScorer, PoolScores
from filters.scorer import settings_of
from filters.strategy import Columns
from pipeline.pools.columns import ALIASES, PoolColumns, by_family
from pipeline.stage import Product, Stage, Unit
from winnow.columns import ColumnWriter, column_path
from winnow.component import build, digest
from winnow.errors import UserError, unknown
from winnow.pool import PoolTable, pool_tables
from winnow.storage import Store
from winnow.uid import to_hex

__all__ = ["Relate"]

CHUNK_ROWS = 8192
"""Rows that are read at a time: a chunk of embeddings of 768 numbers is 12 MiB in float16."""
AGAIN = "duplicate uid: it has its values at its first place in the pool"


class Relate(Stage):
    """Run the configured pool scorers; only what is missing is computed.

    A unit is one pool scorer. It reads the columns that the scorer needs, of all shards, and makes the same files as
    the stage `score` does, under the same names. A uid that occurs more than once counts once, at its first place;
    a sample that lacks an input does not count. Both get no values, and the reason in `error`.
    """

    name: ClassVar[str] = "relate"
    home: ClassVar[str] = "pool"
    parallel: ClassVar[bool] = False

    scorers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Key, which names the folder of the columns -> a pool scorer's fields; `use` names its file where the key does
    not."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, scorer in self.built.items():
            for need in scorer.needs():
                if need.partition(".")[0] in self.scorers:
                    raise UserError(
                        f"relate.scorers.{key} reads {need!r}, a column of this stage; pool scorers run beside "
                        "one another and can read columns of the stage `score` and of the shard tables"
                    )
        return self

    @cached_property
    def built(self) -> dict[str, PoolScorer]:
        """The pool scorers."""
        return {
            key: build("filters.pool_scorers", spec or {}, key, "relate.scorers") for key, spec in self.scorers.items()
        }

    def scope(self) -> tuple[str, ...]:
        """Own the products of the configured scorers alone, among those of the stage `score`."""
        return tuple(f"score/{key}/" for key in self.scorers)

    def plan(self) -> list[Unit]:
        """Return one unit per pool scorer; its products are its column files of all shards.

        Raises:
            UserError: a scorer reads a column that the pool does not have.
        """
        tables = pool_tables(self.store)
        units = []
        for key, scorer in self.built.items():
            settings = settings_of(scorer, scorer.identity())
            value = digest(settings, [table.fingerprint for table in tables], self._inputs(key, scorer, tables))
            products = {f"score/{key}/{table.name}": value for table in tables}
            units.append(Unit(name=key, products=products, spec={"settings": settings}))
        return units

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Relate the pool by one scorer.

        Raises:
            UserError: this machine would compute other columns than planned, or no sample has what the scorer needs.
        """
        scorer, settings = self.built[unit.name], unit.spec["settings"]
        if (here := settings_of(scorer, scorer.identity())) != settings:
            raise UserError(
                f"pool scorer {unit.name!r} would compute other columns here than planned (planned "
                f"{settings['identity']}, here {here['identity']}): let all machines read the same files"
            )
        pool = _Complete(self.store, pool_tables(self.store), scorer.needs())
        if not pool.num_samples:
            some = next(iter(pool.reasons.values()), "the pool is empty")
            raise UserError(f"pool scorer {unit.name!r}: no sample has what it needs, {scorer.needs()}: {some}")
        scores = scorer.score(pool)
        arrays = {}
        for name, array in scores.arrays.items():
            np.save(attempt / f"{name}.npy", array)
            arrays[f"columns/{unit.name}/{name}.npy"] = attempt / f"{name}.npy"
        products = {}
        first = next(iter(pool.tables))
        for table in pool.tables:
            product = f"score/{unit.name}/{table}"
            if product in unit.products:
                file, counts = self._write(pool, table, scores, {"name": unit.name, **settings}, attempt)
                files = {column_path(unit.name, table): file, **(arrays if table == first else {})}
                products[product] = Product(files=files, counts=counts)
        return products

    def _inputs(self, key: str, scorer: PoolScorer, tables: Iterable[PoolTable]) -> list[list[str]]:
        """Return the fingerprints of the column files that a scorer reads, family by family.

        Raises:
            UserError: no such column, or it is not there for every shard.
        """
        scored, fingerprints = self.upstream().rows, []
        first = next(iter(tables))
        for family, names in sorted(by_family(scorer.needs()).items()):
            if family == "meta":
                path = first.table
            else:
                rows = [scored.get(f"score/{family}/{table.name}") for table in tables]
                if None in rows:
                    raise UserError(
                        f"pool scorer {key!r} reads {family}.{names[0]}, but {rows.count(None)} of {len(rows)} shards "
                        f"have no columns of a scorer {family!r}: name it under `score.scorers` and run `winnow score`"
                    )
                fingerprints.append([row.fingerprint() for row in rows if row is not None])
                path = column_path(family, first.name)
            with self.store.open(path) as handle:
                accepted = set(pq.read_schema(handle).names) - {"error"}
            accepted |= {alias for alias, name in ALIASES.items() if name in accepted and family == "meta"}
            if missing := [name for name in names if name not in accepted]:
                raise UserError(
                    f"pool scorer {key!r}: "
                    f"{unknown('column', f'{family}.{missing[0]}', (f'{family}.{name}' for name in accepted))}"
                )
        return fingerprints

    def _write(
        self, pool: "_Complete", table: str, scores: PoolScores, settings: Mapping[str, Any], attempt: Path
    ) -> tuple[Path, dict[str, int]]:
        """Write the column file of a shard."""
        start, stop = pool.tables[table]
        related = slice(*np.searchsorted(pool.related, (start, stop)))
        rows = pool.related[related] - start
        writer = ColumnWriter()
        writer.add(rows.tolist(), {name: values[related] for name, values in scores.columns.items()})
        for row in np.setdiff1d(np.arange(stop - start), rows):
            writer.fail(int(row), pool.reasons[start + int(row)])
        path = attempt / f"{table}.parquet"
        writer.write(path, to_hex(pool.uids[start:stop]), settings)
        return path, {"samples": stop - start, "failed": stop - start - len(rows)}


class _Complete:
    """The pool without the samples that lack an input: a `filters.strategy.Pool`, each uid once.

    In memory are the uids, 16 bytes a sample, 9 bytes a sample to tell which are in it, and the reasons of the others.
    """

    def __init__(self, store: Store, tables: Iterable[PoolTable], needs: Iterable[str]) -> None:
        self.columns = PoolColumns(store, list(tables), CHUNK_ROWS)
        self.reasons: dict[int, str] = {}
        """Row of the pool -> why it is left out."""
        self.tables: dict[str, tuple[int, int]] = {table.name: (0, 0) for table in tables}
        """Table -> its first row in the pool and the one after its last."""
        self._masks: list[NDArray[np.bool_]] = []
        """Of every chunk: (m,) which of its rows are complete."""
        needs = list(needs)
        errors = [f"{family}.error" for family in by_family(needs) if family != "meta"]
        uids, related, start = [], [], 0
        for rows, columns in self.columns.map(lambda rows, columns: (rows, columns), [*needs, *errors]):
            complete = np.ones(columns.num_samples, bool)
            places = start + np.flatnonzero(~rows.again)
            self.reasons |= dict.fromkeys((start + np.flatnonzero(rows.again)).tolist(), AGAIN)
            for need in needs:
                for row in np.flatnonzero(complete & ~_present(columns, need)):
                    self.reasons[int(places[row])] = _reason(columns, need, int(row))
                    complete[row] = False
            self._masks.append(complete)
            related.append(places[complete])
            uids.append(rows.uids)
            self._note(rows.table, start)
            start += len(rows.uids)
        self.uids = np.concatenate(uids)
        """(n,) of all rows."""
        self.related: NDArray[np.int64] = np.concatenate(related)
        """(m,) the rows that are complete, ascending."""
        self.num_samples = len(self.related)

    def chunks(self, names: Iterable[str]) -> Iterator[Columns]:
        """Yield the complete rows of each chunk, embeddings as (m, d)."""
        names = list(names)
        for mask, columns in zip(self._masks, self.columns.chunks(names), strict=True):
            yield columns if mask.all() else columns.take(mask, names)

    def _note(self, table: Any, start: int) -> None:
        """Note which rows a chunk has of each table."""
        codes = table.indices.to_numpy()
        for code, name in enumerate(table.dictionary.to_pylist()):
            (rows,) = np.nonzero(codes == code)
            if len(rows):
                begin, end = self.tables[name]
                self.tables[name] = (begin if end else start + int(rows[0]), start + int(rows[-1]) + 1)


def _present(columns: Columns, name: str) -> NDArray[np.bool_]:
    """Return (m,) whether a column has a value: no null, no NaN, no infinity."""
    valid: NDArray[np.bool_] = columns.arrow(name).is_valid().to_numpy(zero_copy_only=False)
    values = columns[name]
    if np.issubdtype(values.dtype, np.floating):
        finite = np.isfinite(values)
        valid &= finite.all(axis=1) if values.ndim == 2 else finite
    return valid


def _reason(columns: Columns, need: str, row: int) -> str:
    """Say why a row has no value of a column: in the words of the scorer that could not make it."""
    family = need.partition(".")[0]
    error = columns.arrow(f"{family}.error")[row].as_py() if family != "meta" else None
    return f"no {need}: {error or 'the value is missing'}"
