"""Attachments that are tables: parquet by row groups or csv, tsv and jsonl by blocks, and the .npz beside them."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.attachment import IDENTITY, Attachment, By, Piece, identify_by, identities
from pipeline.pools.tabular import blocks, column_kinds, known_columns
from pipeline.pools.textual import Layout
from winnow.account import Account
from winnow.errors import UserError

__all__ = ["TableAttachment", "arrow"]

Rows = NDArray[np.intp]


class TableAttachment(Attachment):
    """Rows of tables, and of the row-aligned arrays in an .npz file of the same name where there is one."""

    with_arrays: ClassVar[bool] = False
    """Whether an .npz beside a table belongs to it."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Their name -> the name that the column gets here."""
    left_out: ClassVar[frozenset[str]] = frozenset(("uid", "url", "text", "key"))
    """Columns (our names for them) that say which sample it is rather than something about it."""

    def identity(self) -> By:
        """Return what tells the rows, as the first file has it."""
        found = self.files()
        names = list(column_kinds(found, found.paths[0], self._layout()))
        return identify_by(self.by, names, found.where(found.paths[0]))

    def pieces(self) -> Iterator[Piece]:
        """Yield a piece per row group or block; per file where arrays stand beside it."""
        found, by = self.files(), self.identity()
        for path in found.paths:
            npz, where = path.removesuffix(".parquet") + ".npz", found.where(path)
            with found.open(path) as file:
                if self.with_arrays and found.fs.exists(npz):
                    with found.open(npz) as arrays:
                        yield self._whole(pq.ParquetFile(file), _arrays(arrays, npz), by, where)
                elif path.endswith(".parquet"):
                    parquet = pq.ParquetFile(file)
                    for group in range(parquet.num_row_groups):
                        yield self._piece(_group_reader(parquet, group), parquet.schema_arrow.names, by, where)
            if not path.endswith(".parquet"):
                kinds = column_kinds(found, path, self._layout())
                for block in blocks(found, path, self._layout(), kinds, Account()):
                    yield self._piece(block.select, block.column_names, by, where)

    def _layout(self) -> Layout:
        """Return how text files are read."""
        return Layout(texts=frozenset(name.lower() for name in (self.columns or {}).values()))

    def _whole(self, file: pq.ParquetFile, arrays: Mapping[str, Any], by: By, path: str) -> Piece:
        """Return a file and the arrays beside it as one piece."""
        names = file.schema_arrow.names
        if clash := sorted(set(names) & set(arrays)):
            raise UserError(f"{path!r} and the .npz beside it both have {clash[0]!r}; choose with `columns`")
        return self._piece(lambda wanted: file.read(columns=wanted), names, by, path, arrays, file.metadata.num_rows)

    def _piece(
        self,
        read: Callable[[list[str]], pa.Table],
        names: list[str],
        by: By,
        path: str,
        arrays: Mapping[str, Any] | None = None,
        num_rows: int = 0,
    ) -> Piece:
        """Return a piece whose other columns are read only if one of its rows is wanted."""
        known = known_columns(names)
        identity = {name: known.get(name, name) for name in IDENTITY[by]}
        if lacking := [name for name, theirs in identity.items() if theirs not in names]:
            raise UserError(f"{path!r} has no column for {lacking[0]!r}, which other files of {self.path!r} have")
        told_by = read(list(identity.values())).rename_columns(list(identity))
        ids, told = identities(by, told_by)
        rows = np.flatnonzero(told)
        own = [name for name in names if name not in {known.get(ours) for ours in self.left_out} | {"hash"}]
        wanted = self._wanted([*own, *(arrays or ())], names, path)

        def load(numbers: Rows) -> pa.Table:
            chosen = rows[numbers]
            columns = {}
            if mine := {ours: theirs for ours, theirs in wanted.items() if theirs in names}:
                table = read(list(mine.values())).take(pa.array(chosen))
                columns = {ours: table[theirs] for ours, theirs in mine.items()}
            for ours in wanted.keys() - mine.keys():
                columns[ours] = arrow(_array(arrays or {}, wanted[ours], num_rows, path)[chosen])
            return pa.table({ours: columns[ours] for ours in wanted})

        return Piece(ids[rows], load, path)

    def _wanted(self, own: list[str], names: list[str], path: str) -> dict[str, str]:
        """Return ours -> theirs of the columns to take."""
        if self.columns is not None:
            return self.choose([*own, *(name for name in names if name not in own)], path)
        return {self.renamed.get(name, name): name for name in own}


def arrow(values: NDArray[Any]) -> pa.Array:
    """Return an array of n numbers, or of n vectors as a list of fixed size."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), math.prod(values.shape[1:]))


def _group_reader(file: pq.ParquetFile, group: int) -> Callable[[list[str]], pa.Table]:
    """Return a reader of one row group."""
    return lambda wanted: file.read_row_group(group, columns=wanted)


def _arrays(file: Any, name: str) -> Mapping[str, Any]:
    """Open an .npz file: a mapping that reads an array when it is asked for one."""
    try:
        return np.load(file, allow_pickle=False)  # type: ignore[no-any-return]
    except (ValueError, OSError) as error:
        raise UserError(f"cannot read {name!r}: {error}") from error


def _array(arrays: Mapping[str, Any], name: str, num_rows: int, path: str) -> NDArray[Any]:
    """Read an array; one of pickled objects is refused, as it would run code.

    Raises:
        UserError: it cannot be read, or is not aligned with the rows of its table.
    """
    try:
        values: NDArray[Any] = arrays[name]
    except ValueError as error:
        raise UserError(f"cannot read {name!r} in the .npz beside {path!r}: {error}") from error
    if len(values) != num_rows:
        raise UserError(f"{path!r} has {num_rows} rows, {name!r} in the .npz beside it has {len(values)}")
    return values.astype(values.dtype.newbyteorder("="), copy=False)  # as other machines write them
