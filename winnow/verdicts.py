"""Verdict tables: what one strategy decided about every sample of the pool, and why, as plain parquet.

`subsets/<strategy>.parquet` has a row per sample in the pool's order, its tables by name and in each its samples in
their order: how often the sample is kept, the reason if it is dropped, the table that holds it. Uids are not written
again: they stand in the pool's tables, and a checksum of those of each table, in the file's metadata, tells when the
pool is no longer the one that was judged.
"""

import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from winnow.errors import UserError
from winnow.filenames import file_name
from winnow.pool import pool_tables, read_columns
from winnow.storage import Store
from winnow.tables import readable
from winnow.uid import UID

__all__ = ["JudgedTable", "VerdictWriter", "Verdicts", "read_verdicts", "verdict_path", "verdict_rows"]

SCHEMA = pa.schema(
    {
        "count": pa.uint16(),
        "reason": pa.dictionary(pa.int32(), pa.string()),
        "shard": pa.dictionary(pa.int32(), pa.string()),
    }
)
READERS = 8
"""Tables of the pool that are read at a time."""


def verdict_path(strategy: str) -> str:
    """Return the name of a strategy's verdict table in the run."""
    return f"subsets/{file_name(strategy)}.parquet"


@dataclass(frozen=True)
class JudgedTable:
    """The rows of a verdict table that judge one table of the pool: start ... stop - 1."""

    name: str
    start: int
    stop: int
    checksum: int | None
    """CRC-32 of the uids' bytes; None in a file of before there were any."""

    def check(self, uids: NDArray[np.void]) -> None:
        """See that these are the samples that were judged.

        Args:
            uids: (n,) dtype "u8,u8", of the table's samples in their order.

        Raises:
            UserError: they are others.
        """
        if len(uids) != self.stop - self.start or self.checksum not in (None, zlib.crc32(_bytes(uids))):
            raise _changed(self.name)


@dataclass(frozen=True)
class Verdicts:
    """What a strategy decided about the n samples of a pool, in the pool's order."""

    rows: pa.Table
    """(n,) `count`, how often the sample is kept, and where they were asked for `reason` and `shard`."""
    tables: list[JudgedTable]
    """Which rows judge which table."""

    @property
    def count(self) -> NDArray[np.uint16]:
        """(n,) how often each sample is kept."""
        return self.rows["count"].to_numpy()  # type: ignore[no-any-return]

    def uids(self, pool: Store) -> NDArray[np.void]:
        """Return (n,) the uid of each sample, dtype "u8,u8", from the pool's tables.

        Raises:
            UserError: the pool has changed since it was judged.
        """
        known = {table.name: table for table in pool_tables(pool)}

        def read(judged: JudgedTable) -> NDArray[np.void]:
            if judged.name not in known:
                raise _changed(judged.name)
            uids = read_columns(pool, known[judged.name])[1]
            judged.check(uids)
            return uids

        with ThreadPoolExecutor(READERS) as readers:
            return np.concatenate([np.zeros(0, UID), *readers.map(read, self.tables)])


def read_verdicts(run: Store, strategy: str, names: Sequence[str] = ()) -> Verdicts:
    """Read a strategy's verdict table.

    Args:
        run: the run's folder.
        strategy: whose verdicts.
        names: columns to read beside `count` and `shard`: "reason".

    Raises:
        UserError: the file cannot be read.
        FileNotFoundError: there is none.
    """
    name = verdict_path(strategy)
    with run.open(name) as handle, readable(repr(name)):
        file = pq.ParquetFile(handle)
        rows = file.read(columns=["count", "shard", *names])
        checksums = json.loads(file.metadata.metadata.get(b"checksums", b"{}"))
    counted = pc.value_counts(rows["shard"]).to_pylist()  # in the order in which they come
    bounds = list(accumulate((item["counts"] for item in counted), initial=0))
    tables = [
        JudgedTable(item["values"], start, stop, checksums.get(item["values"]))
        for item, start, stop in zip(counted, bounds, bounds[1:], strict=False)
    ]
    return Verdicts(rows.select(["count", *names]), tables)


class VerdictWriter:
    """Write a verdict table, some rows at a time; a context manager."""

    def __init__(self, path: Path) -> None:
        self._checksums: dict[str, int] = {}
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd", write_statistics=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.add_key_value_metadata({"checksums": json.dumps(self._checksums)})
        self._writer.close()

    def write(self, rows: pa.Table, uids: NDArray[np.void]) -> None:
        """Write the next rows.

        Args:
            rows: (n,) columns of `verdict_rows`.
            uids: (n,) dtype "u8,u8", of the samples they judge.
        """
        self._writer.write_table(rows)
        shard = rows["shard"].chunk(0)
        codes = shard.indices.to_numpy()
        edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        for start, stop in pairwise(edges):
            if start < stop:
                name = shard[start].as_py()
                self._checksums[name] = zlib.crc32(_bytes(uids[start:stop]), self._checksums.get(name, 0))


def verdict_rows(count: NDArray[np.uint16], code: NDArray[Any], reasons: Sequence[str], shard: pa.Array) -> pa.Table:
    """Return rows of a verdict table.

    Args:
        count: (n,) how often each sample is kept.
        code: (n,) index into `reasons`.
        reasons: in words.
        shard: (n,) dictionary-encoded name of the table that holds each sample.
    """
    # two filters of one strategy may say the same, but parquet writes out all words where a dictionary repeats some
    distinct = list(dict.fromkeys(reasons))
    codes = np.array([distinct.index(words) for words in reasons], np.int32)
    reason = pa.DictionaryArray.from_arrays(codes[code], distinct)
    return pa.Table.from_arrays([pa.array(count), reason, shard], schema=SCHEMA)


def _bytes(uids: NDArray[np.void]) -> memoryview:
    """Return the bytes of uids, 16 each."""
    return memoryview(np.ascontiguousarray(uids).view(np.uint8))  # type: ignore[arg-type]


def _changed(table: str) -> UserError:
    """Return the error for verdicts on other samples."""
    return UserError(
        f"the samples of {table!r} are not those that were judged: the pool has changed since; repeat `winnow select`"
    )
