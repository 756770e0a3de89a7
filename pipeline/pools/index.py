"""Make the tables that tars came without, from the captions and sidecars in them: DataComp's reshards are such tars."""

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.errors import UserError
from winnow.shards import read_shard, reasons
from winnow.storage import Store

__all__ = ["Indexed", "index"]

FIRST = ("uid", "url", "caption", "key", "status", "error_message")
"""Columns that every table gets, with null where the tar says nothing."""
DAMAGED = b"winnow.damaged"
"""Metadata of the table of a tar that could not be read: why."""


@dataclass(frozen=True)
class Indexed:
    """A table that was made."""

    name: str
    num_rows: int
    num_pictures: int
    """Rows whose sample has a picture."""
    notes: list[str]
    """What samples lack, and what of the tar belongs to none: a line each, with a number and an example."""


def index(pool: Store) -> Iterator[Indexed]:
    """Write the table of every tar that has none, in shards/ or at the top, and yield what was found in it.

    A damaged tar costs its own samples: its table has no rows, and it is looked at again the next time.

    Raises:
        UserError: there are no tars.
    """
    tars = pool.list("shards", ".tar") or pool.list("", ".tar")
    if not tars:
        raise UserError(f"no *.tar in {pool.url!r}, neither in shards/ nor at the top")
    for tar in tars:
        name = tar.removesuffix(".tar") + ".parquet"
        if pool.exists(name) and not _was_damaged(pool, name):
            continue
        try:
            table, found = _table(pool, tar, name)
        except UserError as error:
            table = pa.table({column: pa.array([], pa.string()) for column in FIRST})
            table = table.replace_schema_metadata({DAMAGED: str(error)})
            found = Indexed(name, 0, 0, [f"all of its samples left out: {error}"])
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        pool.write(name, buffer.getvalue())
        yield found


def _was_damaged(pool: Store, name: str) -> bool:
    """Tell whether a table stands for a tar that could not be read."""
    with pool.open(name) as file, suppress(pa.ArrowException):
        return DAMAGED in (pq.read_schema(file).metadata or {})
    return False


def _table(pool: Store, tar: str, name: str) -> tuple[pa.Table, Indexed]:
    """Return a row per sample of a tar, in its order: what its json says, its caption, and that it was obtained."""
    rows: list[dict[str, Any]] = []
    left_out: list[tuple[str, str]] = []
    lacking: dict[str, list[str]] = {"no picture": [], "no caption": []}
    with pool.open(tar) as file:
        for sample in read_shard(file, tar, left_out=left_out):
            own = {"uid": sample.uid, "caption": sample.caption, "key": sample.key}
            rows.append({**sample.meta, **own, "status": "success", "error_message": None})
            if sample.image is None:
                lacking["no picture"].append(sample.key)
            if not sample.caption and "txt" not in sample.members:
                lacking["no caption"].append(sample.key)
    names = dict.fromkeys((*FIRST, *(name for row in rows for name in row)))
    notes = [
        f"{len(keys):,} of {len(rows):,} samples have {what} (for example {keys[0]!r})"
        for what, keys in lacking.items()
        if keys
    ]
    if again := len(rows) - len({row["key"] for row in rows}):
        notes.append(f"{again:,} keys come again: members of one key that are no neighbours are several samples")
    table = pa.table({name: _column([row.get(name) for row in rows], name) for name in names})
    num_pictures = len(rows) - len(lacking["no picture"])
    return table, Indexed(name, len(rows), num_pictures, notes + [f"members {line}" for line in reasons(left_out)])


def _column(values: list[Any], name: str) -> pa.Array:
    """Return values that JSON allows as a column, as JSON text where they are of several kinds."""
    if name in FIRST:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    try:
        array = pa.array(values)
        if _fits(array.type):
            return array.cast(pa.string()) if pa.types.is_null(array.type) else array
    except (pa.ArrowException, OverflowError):
        pass
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())


def _fits(kind: pa.DataType) -> bool:
    """Tell whether parquet has a type: it lacks records without fields."""
    if pa.types.is_struct(kind) and not kind.num_fields:
        return False
    return all(_fits(kind.field(place).type) for place in range(kind.num_fields))
