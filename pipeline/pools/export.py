"""Write a pool's metadata and columns in the formats of others: DataComp's metadata with features, or scores per uid.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108): its metadata files and the .npz beside each, row by row alike.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from winnow.columns import column_path, read_column_file
from winnow.errors import UserError, unknown
from winnow.journal import Journal
from winnow.pool import PoolTable, pool_tables, read_columns
from winnow.storage import Store
from winnow.uid import from_hex, to_arrow

__all__ = ["FORMATS", "export"]

FORMATS = ("datacomp", "scores")
META = {
    "url": pa.string(),
    "text": pa.string(),
    "original_width": pa.int64(),
    "original_height": pa.int64(),
    "sha256": pa.string(),
}
"""What DataComp's metadata say of every sample beside its uid."""
DATACOMP = (
    "clip_b32_similarity_score",
    "clip_l14_similarity_score",
    "face_bboxes",
    "b32_img",
    "b32_txt",
    "l14_img",
    "l14_txt",
)
"""Columns and features of DataComp, of which a pool has some."""
MODELS = {"ViT-B-32": "b32", "ViT-L-14": "l14"}
"""Start of the model's name in a `clip` scorer's fields -> DataComp's short name of it."""


def export(pool: Store, out: Store, kind: str, mapping: Mapping[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """Write one file per shard (and an .npz of the vectors, for DataComp) and yield its name and number of rows.

    Args:
        pool: what to export; its samples that were downloaded, or all where it has metadata alone.
        out: where to.
        kind: "datacomp" or "scores".
        mapping: name there -> "scorer.column", for the columns wanted. If not given: for DataComp what bears its names
            and the columns of clip scorers with its models; for scores every column of single values.

    Raises:
        UserError: the pool is not completely scored by a scorer it takes columns of, or has no such column.
    """
    if kind not in FORMATS:
        raise unknown("format", kind, FORMATS)
    tables = pool_tables(pool)
    have = _available(pool, tables)
    for name, column in (mapping or {}).items():
        if column not in have:
            raise UserError(f"column {name!r}: {unknown('column', column, have)}")
    wanted = dict(mapping or (_datacomp(pool, tables[0], have) if kind == "datacomp" else _scalars(have)))
    for table in tables:
        with out.attempt() as attempt:
            files, num_rows = _write(pool, table, wanted, attempt, with_meta=kind == "datacomp")
            for path in files:
                out.commit(path, path.name)
        yield f"{table.name}.parquet", num_rows


def _available(pool: Store, tables: Sequence[PoolTable]) -> dict[str, pa.DataType]:
    """Return "scorer.column" -> type, as the first shard's files have them."""
    scorers = sorted({row.product.split("/")[1] for row in Journal(pool).under("score/")})
    have: dict[str, pa.DataType] = {}
    for scorer in scorers:
        name = column_path(scorer, tables[0].name)
        if pool.exists(name):
            with pool.open(name) as file:
                schema = pq.read_schema(file)
            have |= {f"{scorer}.{f.name}": f.type for f in schema if f.name not in ("uid", "error")}
    return have


def _scalars(have: Mapping[str, pa.DataType]) -> dict[str, str]:
    """Return every column of single values, under its own name."""
    return {name: name for name, kind in have.items() if not pa.types.is_nested(kind)}


def _datacomp(pool: Store, table: PoolTable, have: Mapping[str, pa.DataType]) -> dict[str, str]:
    """Return DataComp's names -> the columns that are what these names say."""
    found = {name.partition(".")[2]: name for name in have if name.partition(".")[2] in DATACOMP}
    for scorer in sorted({name.partition(".")[0] for name in have if name.endswith(".image_embedding")}):
        with pool.open(column_path(scorer, table.name)) as file:
            settings = json.loads((pq.read_schema(file).metadata or {}).get(b"winnow", b"{}"))
        model = str((settings.get("fields") or {}).get("model", ""))
        for start, short in MODELS.items():
            if model.startswith(start):
                theirs = {f"clip_{short}_similarity_score": "similarity", f"{short}_img": "image_embedding"}
                theirs[f"{short}_txt"] = "text_embedding"
                for name, column in theirs.items():
                    if f"{scorer}.{column}" in have:
                        found.setdefault(name, f"{scorer}.{column}")
    return {name: found[name] for name in DATACOMP if name in found}


def _write(
    pool: Store, table: PoolTable, wanted: Mapping[str, str], attempt: Path, *, with_meta: bool
) -> tuple[list[Path], int]:
    """Write one shard's files into the attempt folder."""
    columns, uids = _meta(pool, table) if with_meta else ({}, read_columns(pool, table)[1])
    columns = {"uid": to_arrow(uids), **columns}
    vectors: dict[str, NDArray[np.generic]] = {}
    scored: dict[str, pa.Table] = {}
    for name, source in wanted.items():
        scorer, _, column = source.partition(".")
        if scorer not in scored:
            scored[scorer] = read_column_file(pool, scorer, table.name)
            mine = from_hex(scored[scorer]["uid"])
            if len(mine) != len(uids) or (mine != uids).any():
                raise UserError(f"{column_path(scorer, table.name)!r} holds other samples: run `winnow score` again")
        values = scored[scorer][column].combine_chunks()
        if with_meta and pa.types.is_fixed_size_list(values.type):
            vectors[name] = _vectors(values)
        else:
            columns[name] = values
    files = [attempt / f"{table.name}.parquet"]
    pq.write_table(pa.table(columns), files[0])
    if vectors:
        files.append(attempt / f"{table.name}.npz")
        np.savez(files[1], **vectors)  # type: ignore[arg-type]
    return files, len(uids)


def _meta(pool: Store, table: PoolTable) -> tuple[dict[str, pa.ChunkedArray], NDArray[np.void]]:
    """Return DataComp's columns about each sample that are not scores, and the uids."""
    with pool.open(table.table) as file:
        names = set(pq.read_schema(file).names)
    ours = {name: "caption" if name == "text" and "caption" in names else name for name in META}
    have, uids = read_columns(pool, table, sorted(names.intersection(ours.values())))
    columns = {
        name: have[ours[name]].cast(kind) if ours[name] in have.column_names else pa.nulls(len(uids), kind)
        for name, kind in META.items()
    }
    return columns, uids


def _vectors(values: pa.FixedSizeListArray | pa.ChunkedArray) -> NDArray[np.generic]:
    """Return (n, d) numbers, rows of NaN where there is no vector."""
    array = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
    width = array.type.list_size
    flat = array.values.slice(array.offset * width, len(array) * width).to_numpy(zero_copy_only=False)
    out: NDArray[np.generic] = flat.reshape(len(array), width).copy()
    out[array.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return out
