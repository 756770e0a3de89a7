"""Judge every sample of the pool by each strategy: columns in, a subset and the reason of every drop out."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import model_validator

from filters.choosing.compose import build_strategies
from filters.strategy import Columns, Strategy, Verdict
from filters.subset import save_subset, subset_of
from pipeline.pools.columns import ALIASES, PoolColumns, Rows, by_family
from pipeline.stage import Product, Stage, Unit
from winnow.columns import column_path
from winnow.component import digest
from winnow.errors import UserError, unknown
from winnow.filenames import file_name
from winnow.journal import Journal, Row
from winnow.pool import PoolTable, pool_tables
from winnow.storage import Store
from winnow.verdicts import VerdictWriter, verdict_path, verdict_rows

__all__ = ["Select"]

SHOWN_REASONS = 5
AGAIN = "duplicate uid"


class Select(Stage):
    """Write the subset of every configured strategy.

    A unit is one strategy. It reads the columns that the strategy needs and nothing else, some rows at a time: first to
    fit the strategy, then to judge. In memory are the uids of those that are kept, 16 bytes each, and
    what the strategy's `fit` holds. A strategy that refers to another holds its own copy of it and judges again, so
    units need no order. A pool that has metadata and no shards yet is judged by its metadata.

    A uid that occurs more than once in the pool is judged once, at its first place; the others are dropped.
    """

    name: ClassVar[str] = "select"

    strategies: dict[str, dict[str, Any]]
    """Name, which the subset gets too -> a strategy's fields; `use` names its file where the name does not."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.strategies:
            raise UserError("name at least one strategy, for example `no_filter: {}`")
        for name in self.strategies:
            file_name(name)  # refuses one that no file can have
        build_strategies(self.strategies)  # finds the mistakes of every strategy before anything runs
        return self

    @cached_property
    def built(self) -> dict[str, Strategy]:
        """The strategies, each complete in itself."""
        return build_strategies(self.strategies)

    def plan(self) -> list[Unit]:
        """Return one unit per strategy.

        Raises:
            UserError: a strategy reads a column that the pool does not have.
        """
        pool = Store(self.pool)
        tables, scored = pool_tables(pool), self.upstream().rows
        scorers = {product.split("/")[1] for product in scored if product.startswith("score/")}
        samples = [table.fingerprint for table in tables]
        state = digest(samples, {product: row.fingerprint() for product, row in scored.items()})
        units = []
        for name, strategy in self.built.items():
            scores = []
            for need in strategy.needs():
                _check_column(pool, need, name, tables[0], scorers)
            for scorer in sorted(by_family(strategy.needs()).keys() - {"meta"}):
                scores.append([_fingerprint(scored, scorer, table, name) for table in tables])
            key = digest(strategy, samples, scores)
            file = file_name(name)
            units.append(Unit(name=file, products={f"select/{file}": key}, spec={"strategy": name, "state": state}))
        return units

    def remarks(self) -> list[str]:
        """Name the strategies that keep nothing, with the reason of most drops."""
        lines = []
        for name in self.strategies:
            row = Journal(self.store).rows.get(f"select/{file_name(name)}")
            if row is not None and not row.counts["kept"]:
                drops = [key.removeprefix("dropped: ") for key in row.counts if key.startswith("dropped: ")]
                why = f", most for: {drops[0]}" if drops else ""
                lines.append(
                    f"`{name}` keeps no sample of {row.counts['samples']:,}{why}; nothing will be trained on it"
                )
        return lines

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Judge the pool by one strategy."""
        name = unit.spec["strategy"]
        strategy, pool = self.built[name], _columns(self.pool, unit.spec["state"])
        kept, dropped = _judge(strategy, pool, attempt / "subset.parquet")
        with (attempt / "subset.npy").open("wb") as file:
            num_kept = save_subset(file, kept)
        counts = {"samples": pool.num_rows, "kept": num_kept}
        counts |= {f"dropped: {reason}": number for reason, number in dropped.most_common(SHOWN_REASONS)}
        path = verdict_path(name)
        files = {path.removesuffix(".parquet") + ".npy": attempt / "subset.npy", path: attempt / "subset.parquet"}
        return {f"select/{file_name(name)}": Product(files=files, counts=counts)}


@lru_cache(maxsize=1)
def _columns(pool_url: str, state: str) -> PoolColumns:
    """Return the pool's columns, remembered while the worker judges strategies: all of them share the uids."""
    pool = Store(pool_url)
    return PoolColumns(pool, pool_tables(pool))


def _judge(strategy: Strategy, pool: PoolColumns, path: Path) -> tuple[list[NDArray[np.void]], Counter[str]]:
    """Write the verdict on every row of a pool, chunk by chunk, the strategy having seen each uid once.

    Returns:
        the subset in sorted parts, and the number of drops by reason.
    """
    judge = strategy.fit(pool)

    def work(rows: Rows, columns: Columns) -> tuple[NDArray[np.void], NDArray[np.void], Verdict, pa.Table]:
        verdict = _placed(judge(columns), rows.again)
        assert ((verdict.code == 0) == verdict.keep).all(), f"{strategy!r}: a drop without a reason, or the reverse"
        table = verdict_rows(verdict.count, verdict.code, verdict.reasons, rows.table)
        return rows.uids, subset_of(rows.uids, verdict.count), verdict, table

    kept, dropped = [], Counter[str]()
    with VerdictWriter(path) as writer:
        for uids, subset, verdict, table in pool.map(work, strategy.needs()):
            kept.append(subset)
            for reason, number in zip(
                verdict.reasons[1:], np.bincount(verdict.code, minlength=len(verdict.reasons)).tolist()[1:], strict=True
            ):
                dropped[reason] += number
            writer.write(table, uids)
    return kept, +dropped


def _placed(verdict: Verdict, again: NDArray[np.bool_]) -> Verdict:
    """Return a verdict on all rows, given the one on those that are no duplicates.

    Args:
        verdict: on m rows.
        again: (n,) which rows the strategy was not asked about, n - m of them.
    """
    reasons = (*verdict.reasons, AGAIN)
    if not again.any():
        return Verdict(verdict.count, verdict.code, reasons)
    count, code = np.zeros(len(again), np.uint16), np.full(len(again), len(verdict.reasons), np.uint16)
    count[~again], code[~again] = verdict.count, verdict.code
    return Verdict(count, code, reasons)


def _check_column(pool: Store, need: str, strategy: str, table: PoolTable, scorers: set[str]) -> None:
    """See to it that a column may be read and exists, in the first table at least.

    The rule is a list of what is allowed, the table of samples and the files of finished scorers: what else lies in
    the pool, the truth about synthetic samples above all, is out of a strategy's reach.

    Raises:
        UserError: no such column, with the scorer to add.
    """
    family, _, name = need.partition(".")
    if family == "meta":
        with pool.open(table.table) as handle:
            accepted = set(pq.read_schema(handle).names)
        accepted |= {alias for alias, column in ALIASES.items() if column in accepted}
    elif family in scorers:
        with pool.open(column_path(family, table.name)) as handle:
            accepted = set(pq.read_schema(handle).names) - {"uid", "error"}
    else:
        raise UserError(
            f"strategy {strategy!r} reads the column {need!r}, but the pool has none of a scorer {family!r} "
            f"(it has: {', '.join(sorted(scorers)) or 'no scores'}); add `{family}: {{...}}` under `score.scorers` and "
            "run `winnow score`, or name another column"
        )
    if name not in accepted:
        raise UserError(f"strategy {strategy!r}: {unknown('column', need, (f'{family}.{item}' for item in accepted))}")


def _fingerprint(scored: Mapping[str, Row], scorer: str, table: PoolTable, strategy: str) -> str:
    """Return the fingerprint of a scorer's columns of a shard.

    Raises:
        UserError: the shard is not scored yet.
    """
    row = scored.get(f"score/{scorer}/{table.name}")
    if row is None:
        raise UserError(
            f"strategy {strategy!r} needs the scorer {scorer!r} on every shard, but shard {table.name!r} is not "
            "scored yet; run `winnow score`"
        )
    return row.fingerprint()
