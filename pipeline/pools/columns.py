"""The columns of a whole pool, some rows at a time, read ahead by threads: what strategies and pool scorers look at.

Nothing of the pool stays in memory; the uids lie in a temporary file, 24 bytes a sample. Everything else is read when
it is asked for, a chunk of rows at a time, and no other column with it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from filters.strategy import Columns
from pipeline.pools._uid_spill import Spilled, UidSpill
from winnow.columns import column_path
from winnow.errors import UserError
from winnow.pool import PoolTable, uids_of
from winnow.storage import Store
from winnow.uid import UID, from_hex

__all__ = ["ALIASES", "PoolColumns", "Rows", "by_family"]

ALIASES = {"text": "caption", "caption": "text"}
"""Two names of one column: DataComp's metadata call it text, img2dataset's tables caption."""
CHUNK_ROWS = 65_536
READERS = 8
"""Chunks that are read at a time, at most; of local files not more than there are cores."""

T = TypeVar("T")


@dataclass(frozen=True)
class Rows:
    """Which rows of the pool make a chunk, duplicates included."""

    uids: NDArray[np.void]
    """(n,) dtype "u8,u8"."""
    again: NDArray[np.bool_]
    """(n,) whether the uid occurs earlier in the pool; `PoolColumns.chunks` leaves such rows out."""
    table: pa.DictionaryArray
    """(n,) name of the table that holds the row."""


@dataclass(frozen=True)
class _Piece:
    """The samples in some row groups of a table."""

    table: PoolTable
    groups: tuple[int, ...]
    start: int
    """Samples of the table before these: where they begin in column files."""
    uids: Spilled
    """Where their uids are."""
    success: NDArray[np.bool_] | None
    """Which rows are samples, None where all are."""


class PoolColumns:
    """A `filters.strategy.Pool` on disk, in the order of its tables. Each uid comes once, at its first place."""

    def __init__(self, pool: Store, tables: Sequence[PoolTable], chunk_rows: int = CHUNK_ROWS) -> None:
        """Read the uids and find the duplicates among them.

        Args:
            pool: where the files lie.
            tables: `winnow.pool.pool_tables`; rows whose `status` is other than "success" are no samples.
            chunk_rows: at least so many rows make a chunk where the pool has them, at most twice as many; some chunks
                are in memory at a time. Embeddings want fewer than the default.
        """
        self.pool, self.chunk_rows = pool, chunk_rows
        self._spill = UidSpill()
        self._readers = min(READERS, os.cpu_count() or 1) if pool.is_local else READERS
        with ThreadPoolExecutor(self._readers) as readers:
            pieces = [piece for found in readers.map(self._scan, tables) for piece in found]
            self._again = self._spill.repeated([piece.uids for piece in pieces], readers)
        self._sizes: dict[str, int] = {}
        for piece in pieces:
            self._sizes[piece.table.name] = piece.start + piece.uids.size
        self._chunks = _grouped(pieces, [piece.uids.size for piece in pieces], chunk_rows)
        self._starts = list(
            accumulate((sum(piece.uids.size for piece in pieces) for pieces in self._chunks), initial=0)
        )[:-1]
        self._checked: set[tuple[str, str, int]] = set()
        pa.default_memory_pool().release_unused()  # Arrow keeps what the decoding took, a quarter of the uids
        self.num_rows = sum(self._sizes.values())
        """Samples of the pool, duplicates included."""
        self.num_samples = self.num_rows - len(self._again)
        """Distinct samples of the pool."""

    def chunks(self, names: Iterable[str]) -> Iterator[Columns]:
        """Yield the uids and the named columns of some rows at a time.

        Args:
            names: "meta.<column of the tables>" or "<scorer>.<column>".

        Raises:
            UserError: a table lacks a column, or a column file does not belong to the samples of its table.
        """
        return self.map(lambda rows, columns: columns, names)

    def map(self, work: Callable[[Rows, Columns], T], names: Iterable[str]) -> Iterator[T]:
        """Yield what `work` makes of each of the `chunks`, in their order; it runs in the threads that read.

        Args:
            work: takes the rows of a chunk, and the columns of those rows that are no duplicates.
            names: as for `chunks`.
        """
        families = by_family(names)
        waiting = deque(zip(self._chunks, self._starts, strict=True))
        ahead: deque[tuple[int, Future[list[T]]]] = deque()
        with ThreadPoolExecutor(self._readers, "columns") as readers:
            try:
                while waiting or ahead:
                    # a chunk for each thread; beyond that, large row groups are not read far ahead
                    while waiting and (
                        len(ahead) < self._readers or sum(size for size, _ in ahead) <= self._readers * self.chunk_rows
                    ):
                        pieces, start = waiting.popleft()
                        size = sum(piece.uids.size for piece in pieces)
                        ahead.append((size, readers.submit(self._worked, work, pieces, start, families)))
                    yield from ahead.popleft()[1].result()
            finally:
                for _, future in ahead:
                    future.cancel()

    def _worked(
        self, work: Callable[[Rows, Columns], T], pieces: Sequence[_Piece], start: int, families: dict[str, list[str]]
    ) -> list[T]:
        """Read some pieces and work on them, a chunk at a time where they are more."""
        columns = self._load(pieces, families)
        uids = np.concatenate([self._spill.read(piece.uids) for piece in pieces])
        first, last = np.searchsorted(self._again, (start, start + len(uids)))
        again = np.zeros(len(uids), bool)
        again[self._again[first:last] - start] = True
        names = list(dict.fromkeys(piece.table.name for piece in pieces))
        of_piece = np.array([names.index(piece.table.name) for piece in pieces], np.int32)
        table = pa.DictionaryArray.from_arrays(np.repeat(of_piece, [piece.uids.size for piece in pieces]), names)
        out = []
        step = self.chunk_rows if len(uids) > 2 * self.chunk_rows else max(len(uids), 1)
        for part in (slice(at, at + step) for at in range(0, len(uids), step)):
            rows = Rows(uids[part], again[part], table[part])
            found = Columns(rows.uids, {name: column[part] for name, column in columns.items()})
            out.append(work(rows, found.take(~rows.again) if rows.again.any() else found))
        return out

    def _load(self, pieces: Sequence[_Piece], families: Mapping[str, Sequence[str]]) -> dict[str, pa.Array]:
        """Read the columns of some pieces."""
        columns: dict[str, pa.Array] = {}
        for family, names in families.items():
            read = self._read_meta if family == "meta" else self._read_scores
            parts = [read(piece, family, names) for piece in pieces]
            columns |= {
                f"{family}.{name}": _joined(f"{family}.{name}", [part[name] for part in parts]) for name in names
            }
        return columns

    def _read_meta(self, piece: _Piece, family: str, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Read columns of the table itself."""
        with self._open(piece.table.table) as file:
            known = set(file.schema_arrow.names)
            found = {name: name if name in known else ALIASES.get(name, name) for name in names}
            if missing := sorted(set(found.values()) - known):
                raise UserError(
                    f"{piece.table.table!r} has no column {missing[0]!r}, which other tables of the pool have"
                )
            table = file.read_row_groups(piece.groups, columns=sorted(set(found.values())), use_threads=False)
        if piece.success is not None:
            table = table.filter(pa.array(piece.success))
        return {name: table[column] for name, column in found.items()}

    def _read_scores(self, piece: _Piece, family: str, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Read columns of a scorer; the first time also their uids, to see that they are the table's."""
        name = column_path(family, piece.table.name)
        mark = (family, piece.table.name, piece.start)
        stop = piece.start + piece.uids.size
        with self._open(name) as file:
            same = file.metadata.num_rows == self._sizes[piece.table.name]
            groups, begin = _covering(file.metadata, piece.start, stop)
            wanted = [*names] if mark in self._checked else ["uid", *names]
            table = file.read_row_groups(groups, columns=wanted, use_threads=False).slice(
                piece.start - begin, piece.uids.size
            )
        if mark not in self._checked:
            if not (same and _are(table["uid"], self._spill.read(piece.uids))):
                raise UserError(f"{name!r} holds other samples than {piece.table.table!r}: run `winnow score` again")
            self._checked.add(mark)
        return {name: table[name] for name in names}

    def _scan(self, table: PoolTable) -> list[_Piece]:
        """Read the uids of a table, as many row groups at a time as make a chunk."""
        pieces: list[_Piece] = []
        start = 0
        with self._open(table.table) as file:
            known = set(file.schema_arrow.names)
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            for groups in _grouped(range(len(sizes)), sizes, self.chunk_rows):
                part = file.read_row_groups(groups, columns=sorted({"uid", "status"} & known), use_threads=False)
                success = None
                if "status" in known:
                    success = pc.equal(part["status"], "success").fill_null(False).to_numpy()
                try:
                    uids = from_hex(part["uid"])
                except (KeyError, ValueError):  # a pool that came without uids gets them made, as everywhere
                    identity = sorted({"uid", "url", "caption", "text"} & known)
                    uids = uids_of(file.read_row_groups(groups, columns=identity, use_threads=False))
                if success is not None and success.all():
                    success = None
                if success is not None:
                    uids = uids[success]
                pieces.append(_Piece(table, tuple(groups), start, self._spill.add(uids), success))
                start += len(uids)
        return pieces

    @contextmanager
    def _open(self, name: str) -> Iterator[pq.ParquetFile]:
        """Open a parquet file; Arrow reads local ones by itself, without Python's lock."""
        with ExitStack() as stack:
            source = self.pool.path(name) if self.pool.is_local else stack.enter_context(self.pool.open(name))
            yield stack.enter_context(pq.ParquetFile(source))


def by_family(names: Iterable[str]) -> dict[str, list[str]]:
    """Group the names of columns by family, "meta" or a scorer, each once."""
    families: dict[str, list[str]] = {}
    for full in dict.fromkeys(names):
        family, _, name = full.partition(".")
        families.setdefault(family, []).append(name)
    return families


def _grouped(items: Sequence[Any], sizes: Sequence[int], least: int) -> list[list[Any]]:
    """Group neighbours until each group, but for the last, has at least so many rows."""
    groups: list[list[Any]] = []
    rows = least
    for item, size in zip(items, sizes, strict=True):
        if rows >= least:
            groups.append([])
            rows = 0
        groups[-1].append(item)
        rows += size
    return groups


def _covering(metadata: pq.FileMetaData, start: int, stop: int) -> tuple[list[int], int]:
    """Return the row groups that hold rows start ... stop - 1, and the row at which they begin."""
    ends = list(accumulate(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)))
    begins = [0, *ends[:-1]]
    groups = [group for group, end in enumerate(ends) if end > start and begins[group] < stop]
    return groups, begins[groups[0]] if groups else start


def _are(column: pa.ChunkedArray, uids: NDArray[np.void]) -> bool:
    """Tell whether a column holds exactly these uids, in this order."""
    try:
        return np.array_equal(from_hex(column).view(np.uint64), np.ascontiguousarray(uids, UID).view(np.uint64))
    except ValueError:
        return False


def _joined(name: str, parts: Sequence[pa.ChunkedArray]) -> pa.Array:
    """Put the parts of a column together; where their types differ, in one that holds all.

    Raises:
        UserError: no type holds texts and numbers.
    """
    parts = [part for part in parts if len(part)] or parts[:1]
    kinds = list(dict.fromkeys(part.type for part in parts))
    if len(kinds) == 1:
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], kinds[0]).combine_chunks()
    plain = [part.cast(part.type.value_type) if pa.types.is_dictionary(part.type) else part for part in parts]
    try:
        tables = [pa.table({name: part}) for part in plain]
        return pa.concat_tables(tables, promote_options="permissive")[name].combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(
            f"the column {name!r} is {kinds[0]} in one file of the pool and {kinds[1]} in another: make them alike"
        ) from error
