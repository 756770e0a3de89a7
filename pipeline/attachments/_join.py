"""Pick the rows of given ids out of a stream of pieces, in bounded memory, and give them back in any order."""

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from filters.subset import subset_of, unique
from pipeline.attachment import Piece
from winnow.errors import UserError

__all__ = ["Found", "Join"]

OWN = ("uid", "error")
"""Columns of every column file; a source's column of such a name needs another."""


class Join:
    """Take what belongs to the wanted ids out of a stream of pieces and keep it in a file.

    Should a source have a row twice, the first one counts, in the order of its files.
    """

    def __init__(self, ids: NDArray[np.void], path: Path) -> None:
        self.wanted = unique(subset_of(ids))
        self.place = np.full(len(self.wanted), -1, np.int64)
        """Of each wanted id the row in the file, -1 where none came."""
        self.path = path
        self.num_rows = 0
        self.writer: pa.ipc.RecordBatchFileWriter | None = None
        self.schema: pa.Schema | None = None

    def add(self, piece: Piece) -> None:
        """Take the rows of a piece that are wanted and did not come before."""
        slots = places(self.wanted, piece.ids)
        rows = np.flatnonzero(slots >= 0)
        rows = rows[self.place[slots[rows]] < 0]
        rows = np.sort(rows[np.unique(slots[rows], return_index=True)[1]])
        if self.writer is not None and not len(rows):
            return
        table = _plain(piece.load(rows), piece.where)
        if self.writer is None:
            self.schema = table.schema
            self.writer = pa.ipc.new_file(str(self.path), self.schema)
        elif table.schema != self.schema:
            table = _conform(table, self.schema, piece.where)
        if len(rows):
            self.writer.write_batch(table.combine_chunks().to_batches()[0])
            self.place[slots[rows]] = self.num_rows + np.arange(len(rows))
            self.num_rows += len(rows)

    def finish(self) -> "Found":
        """Close the file and return what came."""
        assert self.writer is not None, "a source has at least one piece"
        self.writer.close()
        return Found(self.wanted, self.place, self.path)


class Found:
    """Rows by id, in a file that is mapped into memory: what is not asked for is not read."""

    def __init__(self, wanted: NDArray[np.void], place: NDArray[np.int64], path: Path) -> None:
        self.wanted, self.place = wanted, place
        self.map = pa.memory_map(str(path))
        reader = pa.ipc.open_file(self.map)
        self.schema = reader.schema
        self.batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self.starts = np.cumsum([0, *(batch.num_rows for batch in self.batches)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.batches = []
        self.map.close()

    def rows(self, ids: NDArray[np.void]) -> tuple[pa.Table, NDArray[np.bool_]]:
        """Return the columns of n ids, null where none came, and (n,) which came."""
        place = self.place[places(self.wanted, ids)]
        distinct, back = np.unique(place[place >= 0], return_inverse=True)
        batch = np.searchsorted(self.starts, distinct, side="right") - 1
        parts = [
            self.batches[number].take(pa.array(distinct[batch == number] - self.starts[number]))
            for number in np.unique(batch)
        ]
        table = pa.Table.from_batches(parts, self.schema).combine_chunks()
        take = np.zeros(len(ids), np.int64)
        take[place >= 0] = back
        return table.take(pa.array(take, mask=place < 0)), place >= 0


def _plain(table: pa.Table, where: str) -> pa.Table:
    """Return columns of types that strategies read: no dictionaries, no 64-bit offsets, no columns of nothing."""
    for name in OWN:
        if name in table.column_names:
            raise UserError(f"{where!r} has a column {name!r}, a name that column files use; rename it with `columns`")
    fields = []
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_large_string(kind) or pa.types.is_null(kind):
            kind = pa.string()
        fields.append(pa.field(field.name, kind))
    return table.cast(pa.schema(fields))


def _conform(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """Give a later file's columns the types of the first.

    Raises:
        UserError: it lacks a column, or a value does not fit.
    """
    if missing := sorted(set(schema.names) - set(table.column_names)):
        raise UserError(f"{where!r} has no column {missing[0]!r}, which the files before it have")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{where!r} does not fit the files before it: {error}") from error


def places(ids: NDArray[np.void], wanted: NDArray[np.void]) -> NDArray[np.int64]:
    """Return (n,) where each of n wanted ids stands among the sorted, distinct `ids`, -1 where it does not."""
    high, low = np.ascontiguousarray(ids["f0"]), np.ascontiguousarray(ids["f1"])
    found = np.full(len(wanted), -1, np.int64)
    rows, place = np.arange(len(wanted)), np.searchsorted(high, wanted["f0"])
    # Walk on through the run of equal high words: one step for hashes, more where the high word says little.
    while len(rows):
        inside = place < len(high)
        rows, place = rows[inside], place[inside]
        same = high[place] == wanted["f0"][rows]
        rows, place = rows[same], place[same]
        hit = low[place] == wanted["f1"][rows]
        found[rows[hit]] = place[hit]
        rows, place = rows[~hit], place[~hit] + 1
    return found
