"""Find the shards of a pool and read their tables, whether our own download wrote them or img2dataset did."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.component import digest
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.storage import Store
from winnow.uid import identify

__all__ = ["PoolShard", "pool_shards", "read_columns", "read_table", "uids_of"]


@dataclass(frozen=True)
class PoolShard:
    """One shard of a pool. File names are relative to the store."""

    name: str
    """Its number as written, "00003"; column files and units carry the same name."""
    tar: str
    """The pictures and captions, "shards/00003.tar"."""
    table: str
    """The parquet table of every row that was tried, failed ones too."""
    fingerprint: str
    """Changes when the content does: what keys of downstream products are made of."""


def pool_shards(store: Store) -> list[PoolShard]:
    """Return the shards of a pool by name.

    Where the journal knows of a download, its rows are the truth: files of an unfinished or retired unit do
    not count. A pool from elsewhere has no such rows; its tars are looked for in `shards/`, then at the top.

    Raises:
        UserError: there are no shards, or a tar has no table beside it.
    """
    if rows := Journal(store).under("download/"):
        return [_shard(_tar(row), row.fingerprint()) for row in rows]
    tars = store.list("shards", ".tar") or store.list("", ".tar")
    if not tars:
        raise UserError(
            f"no shards in the pool {store.url!r}: looked for *.tar in shards/ and at the top; "
            "`winnow download` makes them, and an output folder of img2dataset (webdataset) is accepted as it is"
        )
    return [_shard(tar, digest(_state(store, tar), _state(store, _table(tar)))) for tar in tars]


def read_table(store: Store, shard: PoolShard) -> pa.Table:
    """Return every row of a shard, failed ones included.

    The rows whose `status` is "success" stand one to one, in their order, for the samples of the tar. Our shards
    are sorted by key; img2dataset's are in the order in which its downloads ended, table and tar alike.

    Returns:
        columns url, caption, key, status, error_message, width, height, original_width, original_height,
        exif, sha256 and whatever else the pool's metadata carried ("uid").
    """
    return pq.read_table(io.BytesIO(store.read(shard.table)))


def read_columns(
    store: Store, shard: PoolShard, names: Iterable[str] = (), *, failed: bool = False
) -> tuple[pa.Table, list[str]]:
    """Return some columns of a shard's rows and the uid of each, reading nothing else.

    Args:
        store: the pool.
        shard: one of its shards.
        names: columns to read; `status` always comes along.
        failed: rows that were not downloaded too; else one row per sample of the tar, in its order.

    Raises:
        UserError: the table has no such column.
    """
    with store.open(shard.table) as handle:
        file = pq.ParquetFile(handle)
        known = set(file.schema_arrow.names)
        wanted = {*names, "status"}
        if missing := sorted(wanted - known):
            raise UserError(f"{shard.table!r} has no column {missing[0]!r}; it has: {', '.join(sorted(known))}")
        # Captions are read for their uids only where the table has none of its own.
        identity = {"uid"} & known
        table = file.read(columns=sorted(wanted | identity))
        if not identity or not _all_uids(table["uid"]):
            identity = {"uid", "url", "caption"} & known
            table = file.read(columns=sorted(wanted | identity))
    if not failed:
        table = table.filter(pc.fill_null(pc.equal(table["status"], "success"), False))
    return table.select(sorted(wanted)), uids_of(table)


def uids_of(table: pa.Table) -> list[str]:
    """Return the uid of every row: its own where it has one, else made from url and caption, as far as it has these."""
    if "uid" in table.column_names and _all_uids(table["uid"]):
        return table["uid"].to_pylist()  # type: ignore[no-any-return]
    nothing = [None] * table.num_rows
    parts = [table[name].to_pylist() if name in table.column_names else nothing for name in ("uid", "url", "caption")]
    return [identify(*row) for row in zip(*parts, strict=True)]


def _all_uids(column: pa.ChunkedArray) -> bool:
    """Tell whether every value is a uid."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    fits = pc.match_substring_regex(column, "^[0-9a-f]{32}$")
    return column.null_count == 0 and bool(pc.all(fits, min_count=0).as_py())


def _shard(tar: str, fingerprint: str) -> PoolShard:
    """Name the parts of a shard after its tar."""
    name = tar.rpartition("/")[2].removesuffix(".tar")
    return PoolShard(name=name, tar=tar, table=_table(tar), fingerprint=fingerprint)


def _tar(row: Row) -> str:
    """Return the tar among the files of a journal row."""
    return next(name for name in row.files if name.endswith(".tar"))


def _table(tar: str) -> str:
    """Return the name of the table beside a tar."""
    return tar.removesuffix(".tar") + ".parquet"


def _state(store: Store, name: str) -> str:
    """Return a cheap stand-in for a content hash: size and time of change, or what an object store offers."""
    try:
        info = store.fs.info(store.path(name))
    except FileNotFoundError:
        raise UserError(
            f"{name!r} is missing in the pool {store.url!r}: every tar needs the parquet table that "
            "img2dataset writes beside it; remove the tar or make the shard again"
        ) from None
    return f"{info['size']}-{info['mtime']}" if store.is_local else str(store.fs.ukey(store.path(name)))
