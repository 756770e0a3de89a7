"""Everything known about one sample: its table row, where it lies, all columns, every strategy's verdict and reason.

It reads what strategies may read and nothing else: the truth about a synthetic pool never shows here.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.markup import escape

from pipeline.config import RunConfig
from winnow.columns import column_path
from winnow.errors import UserError
from winnow.filenames import file_name, name_of
from winnow.journal import Journal
from winnow.pool import PoolShard, PoolTable, pool_tables, read_columns, read_table
from winnow.storage import Store
from winnow.uid import to_hex
from winnow.verdicts import read_verdicts, verdict_path

__all__ = ["explain"]

LONGEST = 160
"""Characters shown of one value."""
READERS = 8
"""Tables that are searched at a time."""

Section = tuple[str, Sequence[tuple[str, ...]]]


@dataclass(frozen=True)
class _Place:
    """Where a row with the uid is."""

    uid: str
    table: PoolTable
    row: int
    """In the table, failed rows counted."""
    position: int | None
    """Among the samples of the shard; None where it was not downloaded."""


def explain(config: RunConfig, uid: str) -> Iterator[Section]:
    """Yield titled lists of (name, value) rows about one sample, in rich's markup.

    Args:
        config: the run.
        uid: the sample's uid or the start of it.

    Raises:
        UserError: no sample, or more than one, has such a uid.
    """
    pool, run = Store(config.values["pool"]), config.run_store
    first, *others = _find(pool, uid.strip().lower())
    row = read_table(pool, first.table).slice(first.row, 1).to_pylist()[0]
    yield f"sample {first.uid}", [(name, _short(v)) for name, v in row.items() if name != "uid" and v is not None]
    yield "where it lies", _where(first, row, others)
    if first.position is None:
        yield "columns", [("none", f"it was not downloaded: {_short(row.get('error_message') or row.get('status'))}")]
        return
    scorers = sorted({row.product.split("/")[1] for row in Journal(pool).under("score/")})
    columns = [line for scorer in scorers for line in _scores(pool, scorer, first)]
    yield "columns", columns or [("none", "it was not scored yet: `winnow score`")]
    strategies = [name_of(row.product.removeprefix("select/")) for row in Journal(run).under("select/")]
    uids = read_columns(pool, first.table)[1]
    verdicts = {name: _verdict(run, name, first, uids) for name in strategies}
    lines = [(name, *verdict) for name, verdict in verdicts.items()]
    yield "strategies", lines or [("none", "no strategy has judged it yet: `winnow select`")]
    kept = {name for name, (verdict, _) in verdicts.items() if "kept" in verdict}
    yield "shards it was copied to", list(_copies(run, first.uid, kept)) or [("none", "")]


def _where(first: _Place, row: dict[str, Any], others: Sequence[_Place]) -> list[tuple[str, str]]:
    """Return the lines that say in which files the sample is."""
    lines = [("table", first.table.table)]
    if isinstance(first.table, PoolShard):
        lines = [
            ("shard", first.table.tar),
            *lines,
            ("key", _short(row.get("key"))),
            ("status", str(row.get("status"))),
        ]
    lines += [("again in", f"{other.table.table}, row {other.row}") for other in others]
    return [(name, escape(value)) for name, value in lines]


def _find(pool: Store, start: str) -> list[_Place]:
    """Return every row with the one uid that starts so, in pool order.

    Raises:
        UserError: there is none, or several uids start so.
    """
    if not start or len(start) > 32 or set(start) - set("0123456789abcdef"):
        raise UserError(f"a uid is 32 hexadecimal characters, or the start of them; not {start!r}")
    lowest, highest = (int(start.ljust(32, fill), 16) for fill in "0f")

    def search(table: PoolTable) -> tuple[PoolTable, list[tuple[str, int, int | None]]]:
        data, uids = read_columns(pool, table, failed=True)
        good = np.ones(len(uids), bool)
        if "status" in data.column_names:
            good = np.array([status == "success" for status in data["status"].to_pylist()], bool)
        rows = np.flatnonzero(_at_least(uids, lowest) & ~_at_least(uids, highest + 1))
        found = [
            (uid, int(row), int(good[:row].sum()) if good[row] else None)
            for uid, row in zip(to_hex(uids[rows]), rows, strict=True)
        ]
        return table, found

    places: list[_Place] = []
    with ThreadPoolExecutor(READERS) as readers:
        for table, found in readers.map(search, pool_tables(pool)):
            places += [_Place(uid, table, row, at) for uid, row, at in found]
    uids = sorted({place.uid for place in places})
    if len(uids) != 1:
        several = f": {', '.join(uids[:3])}{', ...' if len(uids) > 3 else ''}" if uids else ""
        many = f"{len(uids)} samples have" if uids else "no sample of the pool has"
        raise UserError(
            f"{many} a uid that starts with {start!r}{several}; give more of its 32 characters, or another pool"
        )
    return sorted(places, key=lambda place: place.position is None)  # one that was downloaded tells more


def _at_least(uids: NDArray[np.void], bound: int) -> NDArray[np.bool_]:
    """Return (n,) whether each uid, read as a number, is at least `bound`; none is 2^128."""
    if bound >> 128:
        return np.zeros(len(uids), bool)
    high, low = np.uint64(bound >> 64), np.uint64(bound & (2**64 - 1))
    return (uids["f0"] > high) | ((uids["f0"] == high) & (uids["f1"] >= low))  # type: ignore[no-any-return]


def _scores(pool: Store, scorer: str, place: _Place) -> Iterator[tuple[str, str]]:
    """Yield one line per column of a scorer; of vectors only their length."""
    name = column_path(scorer, place.table.name)
    if not pool.exists(name) or place.position is None:
        yield escape(scorer), "this shard was not scored yet"
        return
    with pool.open(name) as handle:
        file = pq.ParquetFile(handle)
        vectors = {field.name: field.type for field in file.schema_arrow if pa.types.is_fixed_size_list(field.type)}
        names = [name for name in file.schema_arrow.names if name not in vectors]
        row = file.read(columns=names).slice(place.position, 1).to_pylist()
    if not row or row[0].pop("uid") != place.uid:
        yield escape(scorer), "its columns belong to another state of the pool: repeat `winnow score`"
        return
    error = row[0].pop("error", None)
    for column, value in row[0].items():
        yield escape(f"{scorer}.{column}"), _short(value)
    if error is None:
        for column, kind in vectors.items():
            yield escape(f"{scorer}.{column}"), f"{kind.list_size} numbers"
    else:
        yield escape(f"{scorer}.error"), _short(error)


def _verdict(run: Store, strategy: str, place: _Place, uids: NDArray[np.void]) -> tuple[str, str]:
    """Return kept or dropped, and the reason; `uids` are those of the samples of the place's table."""
    name = verdict_path(strategy)
    if not run.exists(name):
        return "unknown", f"{name} is gone: repeat `winnow select`"
    verdicts = read_verdicts(run, strategy, ["reason"])
    try:
        (judged,) = (table for table in verdicts.tables if table.name == place.table.name)
        judged.check(uids)
    except (ValueError, UserError):
        return "unknown", "the pool has changed since: repeat `winnow select`"
    row = judged.start + (place.position or 0)
    count, reason = int(verdicts.count[row]), verdicts.rows["reason"][row].as_py()
    times = f" {count} times" if count > 1 else ""
    return f"[green]kept{times}[/green]" if count else "[red]dropped[/red]", _short(reason or "")


def _copies(run: Store, uid: str, subsets: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (shard, key) for each copy of the sample in the run's shards of these subsets."""
    journal = Journal(run)
    rows = [row for subset in sorted(subsets) for row in journal.under(f"reshard/{file_name(subset)}/")]
    names = [name for row in rows for name in row.files if name.endswith(".parquet")]

    def search(name: str) -> list[str]:
        table = pq.read_table(io.BytesIO(run.read(name)), columns=["key", "uid"], filters=[("uid", "==", uid)])
        return [str(key) for key in table["key"].to_pylist()]

    with ThreadPoolExecutor(READERS) as readers:
        for name, keys in zip(names, readers.map(search, names), strict=True):
            for key in keys:
                yield escape(name.removesuffix(".parquet") + ".tar"), escape(key)


def _short(value: Any) -> str:
    """Return a value as one line of bounded length, nothing in it taken for markup."""
    text = f"{value:.4f}" if isinstance(value, float) else str(value).replace("\n", " ")
    return escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")
