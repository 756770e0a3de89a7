"""Judge every sample of the pool by each strategy: columns in, a subset and the reason of every drop out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import model_validator

from filters.compose import build_strategies
from filters.strategy import Columns, Strategy, Verdict
from filters.subset import argsort_uids, subset_of, write_subset
from pipeline.stage import Product, Stage, Unit
from winnow.columns import column_path
from winnow.component import digest
from winnow.errors import UserError, unknown
from winnow.journal import Row
from winnow.pool import PoolShard, pool_shards, read_columns
from winnow.storage import Store
from winnow.uid import from_hex, to_hex

__all__ = ["Select"]

SHOWN_REASONS = 5
ALIASES = {"text": "caption"}
"""DataComp's names of columns that img2dataset's tables call otherwise."""


class Select(Stage):
    """Write the subset of every configured strategy.

    A unit is one strategy. It reads the columns that the strategy needs and nothing else, all of them at once: memory
    is that of these columns, 16 bytes a sample for the uids, and never a picture. A strategy that refers to another
    holds its own copy of it and judges again, so units need no order.

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
            if not name.replace("-", "_").isidentifier():
                raise UserError(f"a strategy's name becomes a file name: letters, digits, _ and -, not {name!r}")
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
        shards, scored = pool_shards(pool), self.upstream().rows
        scorers = {product.split("/")[1] for product in scored if product.startswith("score/")}
        samples = [shard.fingerprint for shard in shards]
        units = []
        for name, strategy in self.built.items():
            scores = []
            for need in strategy.needs():
                _check_column(pool, need, name, shards[0], scorers)
            for scorer in sorted(_by_family(strategy.needs()).keys() - {"meta"}):
                scores.append([_fingerprint(scored, scorer, shard, name) for shard in shards])
            key = digest(strategy, samples, scores)
            units.append(Unit(name=name, products={f"select/{name}": key}, spec={"strategy": name}))
        return units

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Judge the pool by one strategy."""
        name = unit.spec["strategy"]
        shards, pool = pool_shards(Store(self.pool)), Store(self.pool)
        columns, sizes = _read(pool, shards, self.built[name].needs())
        verdict = _judge(self.built[name], columns)
        subset = subset_of(columns.uids, verdict.count)
        (attempt / "subset.npy").write_bytes(write_subset(subset))
        shard_of = pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(len(shards), dtype=np.int32), sizes), [shard.name for shard in shards]
        )
        table = {
            "uid": to_hex(columns.uids),
            "count": verdict.count,
            "reason": pa.DictionaryArray.from_arrays(verdict.code.astype(np.int32), list(verdict.reasons)),
            "shard": shard_of,
        }
        pq.write_table(pa.table(table), attempt / "subset.parquet", compression="zstd")
        dropped = Counter(verdict.reason[~verdict.keep].tolist())
        counts = {"samples": len(verdict.count), "kept": len(subset)}
        counts |= {f"dropped: {reason}": number for reason, number in dropped.most_common(SHOWN_REASONS)}
        files = {f"subsets/{name}{suffix}": attempt / f"subset{suffix}" for suffix in (".npy", ".parquet")}
        return {f"select/{name}": Product(files=files, counts=counts)}


def _judge(strategy: Strategy, columns: Columns) -> Verdict:
    """Return the verdict on all rows of a pool, the strategy having seen each uid once."""
    order = argsort_uids(columns.uids)  # stable: of equal uids the first in the pool comes first
    again = np.zeros(columns.num_samples, dtype=bool)
    again[order[1:]] = columns.uids[order[1:]] == columns.uids[order[:-1]]
    rows = np.flatnonzero(~again)
    verdict = strategy.select(Columns(columns.uids[rows], {name: columns[name][rows] for name in columns}))
    assert ((verdict.code == 0) == verdict.keep).all(), f"{strategy!r}: a drop without a reason, or the reverse"
    count = np.zeros(columns.num_samples, dtype=np.uint16)
    code = np.full(columns.num_samples, len(verdict.reasons), dtype=np.uint16)
    count[rows], code[rows] = verdict.count, verdict.code
    return Verdict(count, code, (*verdict.reasons, "duplicate uid"))


def _read(pool: Store, shards: Sequence[PoolShard], needs: Iterable[str]) -> tuple[Columns, list[int]]:
    """Read columns of the whole pool.

    Returns:
        the columns, in pool order (shard by shard), and the number of samples of each shard.

    Raises:
        UserError: a column file does not belong to the samples of its shard.
    """
    families = _by_family(needs)
    meta = families.pop("meta", [])
    uids: list[NDArray[np.void]] = []
    pieces: dict[str, list[NDArray[Any]]] = {f"meta.{name}": [] for name in meta}
    pieces |= {f"{scorer}.{name}": [] for scorer, names in families.items() for name in names}
    for shard in shards:
        table, texts = _samples(pool, shard, meta)
        uids.append(from_hex(texts))
        for name in meta:
            pieces[f"meta.{name}"].append(_values(table[ALIASES.get(name, name)]))
        for scorer, names in families.items():
            file = column_path(scorer, shard.name)
            with pool.open(file) as handle:
                scores = pq.read_table(handle, columns=["uid", *names])
            if scores["uid"].to_pylist() != texts:
                raise UserError(f"{file!r} holds other samples than {shard.tar!r}: run `winnow score` again")
            for name in names:
                pieces[f"{scorer}.{name}"].append(_values(scores[name]))
    columns = {name: np.concatenate(parts) for name, parts in pieces.items()}
    return Columns(np.concatenate(uids), columns), [len(part) for part in uids]


def _samples(pool: Store, shard: PoolShard, meta: Iterable[str]) -> tuple[pa.Table, list[str]]:
    """Return some columns of a shard's samples (the rows that were downloaded), and their uids as texts."""
    return read_columns(pool, shard, (ALIASES.get(name, name) for name in meta))


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column as an array in which missing numbers are NaN and other missing values None."""
    return column.to_numpy()  # type: ignore[no-any-return]


def _by_family(needs: Iterable[str]) -> dict[str, list[str]]:
    """Group "family.column" names by family: "meta" or a scorer."""
    families: dict[str, list[str]] = {}
    for need in needs:
        family, _, name = need.partition(".")
        families.setdefault(family, []).append(name)
    return families


def _check_column(pool: Store, need: str, strategy: str, shard: PoolShard, scorers: set[str]) -> None:
    """See to it that a column may be read and exists, in the first shard at least.

    The rule is a list of what is allowed, the shard table and the files of finished scorers: what else lies in
    the pool, the truth about synthetic samples above all, is out of a strategy's reach.

    Raises:
        UserError: no such column, with the scorer to add.
    """
    family, _, name = need.partition(".")
    if family == "meta":
        with pool.open(shard.table) as handle:
            accepted = set(pq.read_schema(handle).names)
        accepted |= {alias for alias, column in ALIASES.items() if column in accepted}
    elif family in scorers:
        with pool.open(column_path(family, shard.name)) as handle:
            accepted = set(pq.read_schema(handle).names) - {"uid", "error"}
    else:
        raise UserError(
            f"strategy {strategy!r} reads the column {need!r}, but the pool has none of a scorer {family!r} "
            f"(it has: {', '.join(sorted(scorers)) or 'no scores'}); add `{family}: {{...}}` under `score.scorers` and "
            "run `winnow score`, or name another column"
        )
    if name not in accepted:
        raise UserError(f"strategy {strategy!r}: {unknown('column', need, (f'{family}.{item}' for item in accepted))}")


def _fingerprint(scored: Mapping[str, Row], scorer: str, shard: PoolShard, strategy: str) -> str:
    """Return the fingerprint of a scorer's columns of a shard.

    Raises:
        UserError: the shard is not scored yet.
    """
    row = scored.get(f"score/{scorer}/{shard.name}")
    if row is None:
        raise UserError(
            f"strategy {strategy!r} needs the scorer {scorer!r} on every shard, but shard {shard.name!r} is not "
            "scored yet; run `winnow score`"
        )
    return row.fingerprint()
