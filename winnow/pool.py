"""Find the shards or the metadata of a pool and read their tables, whether our own stages wrote them or others did."""

import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from winnow.component import digest
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.storage import Store
from winnow.tables import check_names, readable
from winnow.uid import from_hex, identify, own_uid

__all__ = ["PoolShard", "PoolTable", "pool_shards", "pool_tables", "read_columns", "read_table", "uids_of"]


METADATA_EXTRAS = ("duplicates", "rejected")
"""Files beside a pool's metadata that hold no samples of it."""


@dataclass(frozen=True)
class PoolTable:
    """A table of samples: what a column file goes with. File names are relative to the store."""

    name: str
    """Its number as written, "00003"; column files and units carry the same name."""
    table: str
    """The parquet table. Of a shard: every row that was tried, failed ones too."""
    fingerprint: str
    """Changes when the content does: what keys of downstream products are made of."""


@dataclass(frozen=True)
class PoolShard(PoolTable):
    """One shard of a pool: a tar and its table."""

    tar: str
    """The pictures and captions, "shards/00003.tar"."""


def pool_shards(store: Store) -> list[PoolShard]:
    """Return the shards of a pool by name.

    Where the journal knows of a download, its rows are the truth: files of an unfinished or retired unit do
    not count. A pool from elsewhere has no such rows; its tars are looked for in `shards/`, then at the top.

    Raises:
        UserError: there are no shards, or a tar has no table beside it.
    """
    if shards := _shards(store, Journal(store)):
        return shards
    only = " (it has metadata alone, which is enough for `winnow select`)" if _metadata(store) else _foreign(store)
    raise UserError(
        f"no shards in the pool {store.url!r}{only}: looked for *.tar in shards/ and at the top; `winnow download` "
        "makes them, and an output folder of img2dataset (output_format webdataset) is accepted as it is"
    )


def pool_tables(store: Store) -> Sequence[PoolTable]:
    """Return the tables of a pool's samples by name: those of its shards, or of a pool without any its metadata.

    Before a download, scores that came with the metadata or were attached to it can be filtered already.

    Raises:
        UserError: there are neither, or a tar has no table beside it.
    """
    journal = Journal(store)
    if shards := _shards(store, journal):
        return shards
    names = _metadata(store)
    if not names:
        raise UserError(
            f"no samples in the pool {store.url!r}{_foreign(store)}: looked for *.tar in shards/ and at the top, and "
            "for *.parquet in metadata/; `winnow ingest` and `winnow download` make them"
        )
    ingested = journal.rows["ingest/metadata"].files if "ingest/metadata" in journal.rows else {}
    states = {name: ingested[name][1] if name in ingested else _state(store, name) for name in names}
    return [PoolTable(_stem(name), name, digest(states[name])) for name in names]


def read_table(store: Store, shard: PoolTable) -> pa.Table:
    """Return every row of a shard, failed ones included.

    The rows whose `status` is "success" stand one to one, in their order, for the samples of the tar. Our shards
    are sorted by key; img2dataset's are in the order in which its downloads ended, table and tar alike.

    Returns:
        columns url, caption, key, status, error_message, width, height, original_width, original_height,
        exif, sha256 and whatever else the pool's metadata carried ("uid").
    """
    data = store.read(shard.table)
    with readable(repr(shard.table)):
        file = pq.ParquetFile(io.BytesIO(data))
        check_names(file.schema_arrow.names, repr(shard.table))
        return file.read()


def read_columns(
    store: Store, shard: PoolTable, names: Iterable[str] = (), *, failed: bool = False
) -> tuple[pa.Table, NDArray[np.void]]:
    """Return some columns of a shard's rows and the uid of each, (n,) of dtype "u8,u8", reading nothing else.

    Args:
        store: the pool.
        shard: one of its shards.
        names: columns to read; `status` comes along where there is one (metadata have none).
        failed: rows that were not downloaded too; else one row per sample of the tar, in its order.

    Raises:
        UserError: the table has no such column, or cannot be read.
    """
    with store.open(shard.table) as handle, readable(repr(shard.table)):
        return _read_columns(pq.ParquetFile(handle), shard, names, failed=failed)


def _read_columns(
    file: pq.ParquetFile, shard: PoolTable, names: Iterable[str], *, failed: bool
) -> tuple[pa.Table, NDArray[np.void]]:
    """Read some columns and the uids of an open table; see `read_columns`."""
    check_names(file.schema_arrow.names, repr(shard.table))
    known = set(file.schema_arrow.names)
    wanted = {*names} | {"status"} & known
    if missing := sorted(wanted - known):
        raise UserError(f"{shard.table!r} has no column {missing[0]!r}; it has: {', '.join(sorted(known))}")
    # Captions are read for their uids only where the table has none of its own.
    table = file.read(columns=sorted(wanted | {"uid"} & known))
    try:
        uids = from_hex(table["uid"])
    except (KeyError, ValueError):
        table = file.read(columns=sorted(wanted | {"uid", "url", "caption"} & known))
        uids = uids_of(table)
    if not failed and "status" in known:
        success = pc.fill_null(pc.equal(table["status"].cast(pa.string()), "success"), False)
        table, uids = table.filter(success), uids[success.to_numpy()]
    return table.select(sorted(wanted)), uids


def uids_of(table: pa.Table) -> NDArray[np.void]:
    """Return (n,) the uid of every row: its own where it has one, else made from url and caption.

    Args:
        table: columns uid, url and caption (metadata call it text), or some of them.

    Raises:
        UserError: a row has neither uid nor url: by its caption alone nothing can be told.
    """
    if "uid" in table.column_names:
        with suppress(ValueError):
            return from_hex(table["uid"])
    caption = "caption" if "caption" in table.column_names else "text"
    nothing = [None] * table.num_rows
    parts = [table[name].to_pylist() if name in table.column_names else nothing for name in ("uid", "url", caption)]
    if any(url is None and own_uid(uid) is None for uid, url in zip(*parts[:2], strict=True)):
        raise UserError(
            "a table has rows with neither uid nor url, which nothing tells apart: remove it, and `winnow index POOL` "
            "makes it anew from its tar, with uids made from picture and caption"
        )
    return from_hex(identify(*row) for row in zip(*parts, strict=True))


def _shards(store: Store, journal: Journal) -> list[PoolShard]:
    """Return the shards by name, none where there are none."""
    if rows := journal.under("download/"):
        # The tar alone: its json members hold the rows of all samples. A retry marks rows without one in the table.
        return [_shard(_tar(row), row.files[_tar(row)][1]) for row in rows]
    tars = store.list("shards", ".tar") or store.list("", ".tar")
    return [_shard(tar, digest(_state(store, tar), _state(store, _table(tar)))) for tar in tars]


def _metadata(store: Store) -> list[str]:
    """Return the names of the metadata files."""
    return [name for name in store.list("metadata", ".parquet") if _stem(name) not in METADATA_EXTRAS]


def _foreign(store: Store) -> str:
    """Say in brackets what else of img2dataset's lies in the folder, "" where nothing does."""
    shards = {name.removesuffix("_stats.json") for name in store.list("", "_stats.json")}
    if not shards:
        return ""
    found = "dummy"
    if any(store.exists(f"{shard}.tfrecord") for shard in shards):
        found = "tfrecord"
    elif any(store.fs.isdir(store.path(shard)) for shard in shards):
        found = "files"
    elif any(store.exists(f"{shard}.parquet") for shard in shards):
        found = "parquet"
    return f" (it holds img2dataset's output_format {found!r}, which cannot be read; only `webdataset` can)"


def _stem(name: str) -> str:
    """Return a file's name without folder and suffix."""
    return name.rpartition("/")[2].rpartition(".")[0]


def _shard(tar: str, fingerprint: str) -> PoolShard:
    """Name the parts of a shard after its tar."""
    return PoolShard(name=_stem(tar), tar=tar, table=_table(tar), fingerprint=fingerprint)


def _tar(row: Row) -> str:
    """Return the tar among the files of a journal row."""
    found = next((name for name in row.files if name.endswith(".tar")), None)
    if found is None:
        raise UserError(f"the journal's row {row.product!r} names no tar: remove it, and run `winnow download` again")
    return found


def _table(tar: str) -> str:
    """Return the name of the table beside a tar."""
    return tar.removesuffix(".tar") + ".parquet"


def _state(store: Store, name: str) -> str:
    """Return a cheap stand-in for a content hash: size and time of change, or what an object store offers."""
    try:
        info = store.fs.info(store.path(name))
    except FileNotFoundError:
        raise UserError(
            f"{name!r} is missing in the pool {store.url!r}: every tar needs the parquet table that img2dataset writes "
            "beside it; `winnow index POOL` makes it from the tar, or remove the tar"
        ) from None
    return f"{info['size']}-{info['mtime']}" if store.is_local else str(store.fs.ukey(store.path(name)))
