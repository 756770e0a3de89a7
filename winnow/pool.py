"""Find the shards of a pool and read their tables, whether our own download wrote them or img2dataset did."""

import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.component import digest
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.storage import Store

__all__ = ["PoolShard", "pool_shards", "read_table"]


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
