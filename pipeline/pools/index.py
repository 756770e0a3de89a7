"""Make the tables that tars came without, from the captions and sidecars in them: DataComp's reshards are such tars."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.errors import UserError
from winnow.shards import read_shard
from winnow.storage import Store

__all__ = ["index"]

FIRST = ("uid", "url", "caption", "key", "status", "error_message")
"""Columns that every table gets, with null where the tar says nothing."""


def index(pool: Store) -> Iterator[tuple[str, int]]:
    """Write the table of every tar that has none, in shards/ or at the top; yield its name and number of rows.

    Raises:
        UserError: there are no tars, or one is damaged.
    """
    tars = pool.list("shards", ".tar") or pool.list("", ".tar")
    if not tars:
        raise UserError(f"no *.tar in {pool.url!r}, neither in shards/ nor at the top")
    for tar in tars:
        name = tar.removesuffix(".tar") + ".parquet"
        if not pool.exists(name):
            table = _table(pool, tar)
            buffer = io.BytesIO()
            pq.write_table(table, buffer)
            pool.write(name, buffer.getvalue())
            yield name, table.num_rows


def _table(pool: Store, tar: str) -> pa.Table:
    """Return a row per sample of a tar, in its order: what its json says, its caption, and that it was obtained."""
    rows: list[dict[str, Any]] = []
    with pool.open(tar) as file:
        for sample in read_shard(file, tar):
            own = {"caption": sample.caption, "key": sample.key, "status": "success", "error_message": None}
            rows.append({**sample.meta, **own})
    names = dict.fromkeys((*FIRST, *(name for row in rows for name in row)))
    return pa.table({name: _column([row.get(name) for row in rows], name) for name in names})


def _column(values: list[Any], name: str) -> pa.Array:
    """Return values that JSON allows as a column, as JSON text where they are of several kinds."""
    if name == "uid":  # a number is none, whatever its digits
        values = [value if isinstance(value, str) else None for value in values]
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
