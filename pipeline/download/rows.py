"""Read what a download needs of a metadata table."""

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.download.convert import Row
from pipeline.download.layout import RETRIED
from pipeline.download.shard import ON_REQUEST, OWN, Outcome
from pipeline.download.verdict import Published
from winnow.errors import UserError

__all__ = ["REPLACED", "carried", "rows_of", "samples_per_shard"]

REPLACED = ("original_width", "original_height", "sha256")  # published values give way to what was downloaded
FACES = "face_bboxes"


def rows_of(metadata: pa.Table, settled: Mapping[int, str], *, hashes: bool, boxes: bool) -> list[Row]:
    """Return the rows of a shard.

    Args:
        metadata: columns url, and sha256, md5, phash and face_bboxes as far as they are there.
        settled: row -> the later shard that has its outcome.
        hashes: read published hashes.
        boxes: read the boxes of faces.

    Raises:
        UserError: boxes are wanted and there are none.
    """
    if boxes and FACES not in metadata.column_names:
        raise UserError(f"blur_faces needs the metadata column {FACES!r}; there is none, and so no face is known")

    def column(name: str, wanted: bool) -> list[Any]:
        there = wanted and name in metadata.column_names
        return metadata[name].to_pylist() if there else [None] * metadata.num_rows

    published = [column(name, hashes) for name in ("sha256", "md5", "phash")]
    faces = column(FACES, boxes)
    return [
        Row(
            url,
            Published(published[0][index], published[1][index], _bits(published[2][index])),
            faces[index] or (),
            Outcome(RETRIED, f"in {settled[index]}") if index in settled else None,
        )
        for index, url in enumerate(metadata["url"].to_pylist())
    ]


def samples_per_shard(metadata: pa.Table) -> int:
    """Return how many rows a full metadata file has, which decides the digits of the keys: no fewer than this one."""
    noted = (metadata.schema.metadata or {}).get(b"rows_per_file", b"")
    told = int(noted) if re.fullmatch(rb"[0-9]{1,9}", noted) else 0
    return max(1, int(metadata.num_rows), told)


def carried(metadata: pa.Table) -> pa.Table:
    """Return url, caption and the columns to carry along, without those the download fills itself.

    Raises:
        UserError: one has a name that the download uses itself.
    """
    names = ["url", "text", *(name for name in metadata.column_names if name not in ("url", "text", *REPLACED))]
    table = metadata.select(names).rename_columns(["caption" if name == "text" else name for name in names])
    if clash := set(names) & (set(OWN) | set(ON_REQUEST)):
        raise UserError(f"metadata column {min(clash)!r} has a name that the download uses itself; rename it")
    return table.replace_schema_metadata()


def _bits(value: Any) -> int | None:
    """Return a published perceptual hash, a number or 16 hexadecimal digits, as a number; None for anything else."""
    if isinstance(value, int):
        return value & (2**64 - 1)
    try:
        return int(str(value), 16) if value and len(str(value)) == 16 else None
    except ValueError:
        return None
