"""Write one downloaded shard in img2dataset's layout: tar, table of every row, statistics; sorted by key, reproducible.

Source: img2dataset 1.47, writer and downloader: key arithmetic, columns, statuses, statistics.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.shards import ShardWriter

__all__ = ["ON_REQUEST", "OWN", "Outcome", "counts_of", "sample_key", "statistics", "write_shard"]

OWN = {
    "key": pa.string(),
    "status": pa.string(),
    "error_message": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "original_width": pa.int32(),
    "original_height": pa.int32(),
    "exif": pa.string(),
    "sha256": pa.string(),
}
"""The columns that the download adds, in img2dataset's order, after url, caption and what the metadata carries."""

ON_REQUEST = {"hash_verdict": pa.string(), "converted": pa.string()}
"""Columns that img2dataset does not have; written where a run asks for them."""

PLACEHOLDER_COUNT = 3  # URLs with one and the same file before we call it a placeholder


@dataclass(frozen=True)
class Outcome:
    """What became of one row."""

    status: str
    """"success", "failed_to_download" or "failed_to_resize"; "retried" where a later shard has the row's outcome."""
    error: str | None = None
    place: tuple[int, int] = (0, 0)
    """Offset and size of the encoded picture in the spool."""
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    exif: str | None = None
    sha256: str | None = None
    """Of the bytes as they came."""
    hash_verdict: str | None = None
    """"exact", "same_picture", "changed" or "unknown", against the published hashes."""
    converted: str | None = None
    """What made it more than 8-bit RGB pixels, "alpha,16-bit"."""


def sample_key(shard: str, index: int, samples_per_shard: int) -> str:
    """Return img2dataset's key: shard number times 10^k plus row number, k digits longer than the shard's.

    Args:
        shard: the shard's number as its files carry it, "00003".
        index: of the row within the shard.
        samples_per_shard: 10^k is the next power of ten.
    """
    digits = math.ceil(math.log10(samples_per_shard))
    return f"{int(shard) * 10**digits + index:0{digits + len(shard)}d}"


def write_shard(
    folder: Path,
    shard: str,
    rows: pa.Table,
    outcomes: Sequence[Outcome],
    spool: IO[bytes],
    samples_per_shard: int,
    suffix: str,
    extras: Sequence[str] = (),
) -> dict[str, int]:
    """Write NNNNN.tar, NNNNN.parquet and NNNNN_stats.json.

    Args:
        folder: where to.
        shard: the number as files carry it.
        rows: url, caption and carried columns of every row.
        outcomes: one per row.
        spool: open file that the outcomes' places point into.
        samples_per_shard: for the keys.
        suffix: of the pictures, "jpg".
        extras: columns of `ON_REQUEST` to write.

    Returns:
        what happened how often, for the stage's counts.
    """
    keys = [sample_key(shard, index, samples_per_shard) for index in range(len(outcomes))]
    kinds = OWN | {name: ON_REQUEST[name] for name in extras}
    values: Mapping[str, list[Any]] = {
        "key": keys,
        "error_message": [outcome.error for outcome in outcomes],
        **{name: [getattr(outcome, name) for outcome in outcomes] for name in kinds if name in _FIELDS},
    }
    table = rows
    for name, kind in kinds.items():
        table = table.append_column(name, pa.array(values[name], kind))
    pq.write_table(table, folder / f"{shard}.parquet")
    captions = table["caption"].to_pylist()
    with open(folder / f"{shard}.tar", "wb") as file:
        writer = ShardWriter(file)
        for index, sidecar in enumerate(_sidecars(table)):
            outcome = outcomes[index]
            if outcome.status == "success":
                spool.seek(outcome.place[0])
                image = spool.read(outcome.place[1])
                writer.write(keys[index], {suffix: image, "txt": captions[index].encode(), "json": sidecar})
        writer.close()
    stats = statistics(table, [outcome.converted for outcome in outcomes])
    (folder / f"{shard}_stats.json").write_text(json.dumps(stats, indent=4), encoding="utf-8")
    return counts_of(stats)


_FIELDS = {field.name for field in fields(Outcome)}


def _sidecars(table: pa.Table) -> Iterator[bytes]:
    """Yield each row as img2dataset writes it into a json member: json.dumps(row, indent=4).

    With an indent the standard library's encoder is written in Python and takes longer than the tar; values are
    encoded one by one by the one in C.
    """
    names = [json.dumps(name) for name in table.column_names]
    columns = []
    for name in table.column_names:
        nested = pa.types.is_nested(table.schema.field(name).type)
        columns.append([_value(value, nested) for value in table[name].to_pylist()])
    for values in zip(*columns, strict=True):
        lines = ",\n    ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))
        yield f"{{\n    {lines}\n}}".encode()


def _value(value: Any, nested: bool) -> str:
    """Encode one value of a sidecar."""
    if nested:
        return json.dumps(value, indent=4, default=str).replace("\n", "\n    ")
    return json.dumps(value, default=str)


def statistics(table: pa.Table, converted: Sequence[str | None] = ()) -> dict[str, Any]:
    """Return img2dataset's statistics of a table, without its times, which would make every run's file another one.

    Args:
        table: columns status, error_message and sha256.
        converted: what was converted in each row.
    """
    status = Counter(table["status"].to_pylist())
    messages = zip(table["status"].to_pylist(), table["error_message"].to_pylist(), strict=True)
    reasons = Counter("retried" if state == "retried" else error or "success" for state, error in messages)
    hashes = Counter(value for value in table["sha256"].to_pylist() if value)
    stats: dict[str, Any] = {
        "count": table.num_rows,
        "successes": status["success"],
        "failed_to_download": status["failed_to_download"],
        "failed_to_resize": status["failed_to_resize"],
        "num_placeholder": sum(count for count in hashes.values() if count >= PLACEHOLDER_COUNT),
        "status_dict": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    }
    if traits := Counter(trait for each in converted if each for trait in each.split(",")):
        stats["converted"] = dict(sorted(traits.items()))
    return stats


def counts_of(stats: Mapping[str, Any]) -> dict[str, int]:
    """Return what the stage's summary counts."""
    failures = {reason: count for reason, count in sorted(stats["status_dict"].items()) if reason != "success"}
    placeholders = {"placeholder": stats["num_placeholder"]} if stats["num_placeholder"] else {}
    return {"samples": stats["count"], "success": stats["successes"], **failures, **placeholders}
