"""Column files: what one scorer found out about each sample of one shard, as plain parquet.

`columns/<scorer>/<shard>.parquet` holds `uid`, the scorer's columns and `error` (why a row has nulls, else null), one
row per sample of the tar in its order; the file's metadata says which scorer with which fields and identity made it.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from winnow.errors import UserError
from winnow.storage import Store
from winnow.tables import readable

__all__ = ["ColumnWriter", "column_path", "read_column_file", "to_numpy", "write_columns"]


def column_path(scorer: str, shard: str) -> str:
    """Return the name of a column file in the pool."""
    return f"columns/{scorer}/{shard}.parquet"


def read_column_file(store: Store, scorer: str, shard: str) -> pa.Table:
    """Return a scorer's columns of a shard; its settings are in `table.schema.metadata[b"winnow"]`, as JSON.

    Raises:
        UserError: there is no such file.
    """
    name = column_path(scorer, shard)
    if not store.exists(name):
        raise UserError(f"no {name!r} in the pool {store.url!r}: `winnow score` with the scorer {scorer!r} makes it")
    data = store.read(name)
    with readable(repr(name)):
        return pq.read_table(io.BytesIO(data))


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column as an array of n values: (n, d) for fixed-size lists, objects for text; null rows hold anything.

    Use the file's `error` column to tell which rows are null.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # pyarrow before 20 keeps a single chunk wrapped
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
        flat = array.values.slice(array.offset * width, len(array) * width)
        return flat.to_numpy(zero_copy_only=False).reshape(len(array), width)  # type: ignore[no-any-return]
    if array.null_count and not pa.types.is_string(array.type):
        array = array.fill_null(False if pa.types.is_boolean(array.type) else 0)
    return array.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def write_columns(path: Path, uids: pa.Array, columns: pa.Table, errors: pa.Array, settings: Mapping[str, Any]) -> None:
    """Write a column file.

    Args:
        path: where.
        uids: uid of every sample of the shard, in order.
        columns: a row for each of them.
        errors: why a row has nulls, else null.
        settings: JSON-like, kept in the file's metadata under "winnow".
    """
    arrays = {"uid": uids, **{name: columns[name] for name in columns.column_names}, "error": errors}
    metadata = {"winnow": json.dumps(settings, sort_keys=True)}
    pq.write_table(pa.table(arrays).replace_schema_metadata(metadata), path, compression="zstd")


class ColumnWriter:
    """Collect the columns of a shard, some rows at a time, and write them as one file."""

    def __init__(self) -> None:
        self.pieces: list[tuple[NDArray[np.int64], Mapping[str, Any]]] = []
        self.errors: dict[int, str] = {}

    def add(self, rows: Sequence[int], columns: Mapping[str, Any]) -> None:
        """Take the columns of some rows.

        Args:
            rows: n row numbers in the shard.
            columns: column name -> n values: an array (n,) or (n, d), or a list. No rows at all still tell the columns'
                types.

        Raises:
            ValueError: a column has another length, or the columns are not those of the rows before.
        """
        for name, values in columns.items():
            if len(values) != len(rows):
                raise ValueError(f"column {name!r} has {len(values)} values for {len(rows)} samples")
        if self.pieces and set(columns) != set(self.pieces[0][1]):
            raise ValueError(f"columns {sorted(columns)} differ from {sorted(self.pieces[0][1])} of the samples before")
        self.pieces.append((np.asarray(rows, np.int64), columns))

    def fail(self, row: int, reason: str) -> None:
        """Leave a row null, and say why."""
        self.errors[row] = reason

    def write(self, path: Path, uids: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Write the file.

        Args:
            path: where.
            uids: uid of every sample of the shard, in order.
            settings: JSON-like, kept in the file's metadata under "winnow".
        """
        columns = pa.table({name: self._column(name, len(uids)) for name in self.pieces[0][1]})
        errors = pa.array([self.errors.get(row) for row in range(len(uids))], pa.string())
        write_columns(path, pa.array(uids, pa.string()), columns, errors, settings)

    def _column(self, name: str, num_rows: int) -> pa.Array:
        """Put the pieces of a column in their rows; rows in none are null."""
        pieces = [(rows, columns[name]) for rows, columns in self.pieces]
        if not isinstance(pieces[0][1], np.ndarray):
            values: list[Any] = [None] * num_rows
            for rows, piece in pieces:
                for row, value in zip(rows, piece, strict=True):
                    values[row] = value
            array = pa.array(values)
            return array.cast(pa.string()) if pa.types.is_null(array.type) else array
        null = np.ones(num_rows, bool)
        first = pieces[0][1]
        out = np.zeros((num_rows, *first.shape[1:]), first.dtype)
        for rows, piece in pieces:
            out[rows], null[rows] = piece, False
        if out.ndim == 1:
            return pa.array(out, mask=null)
        return pa.FixedSizeListArray.from_arrays(pa.array(out.ravel()), out.shape[1], mask=pa.array(null))
