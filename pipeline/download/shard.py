"""Write one downloaded shard in img2dataset's layout: tar, table of every row, statistics; sorted by key, reproducible.

Source: img2dataset 1.47, writer and downloader: key arithmetic, columns, statuses, statistics.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.shards import ShardWriter

__all__ = ["Outcome", "sample_key", "write_shard"]

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

PLACEHOLDER_COUNT = 3  # URLs with one and the same file before we call it a placeholder


@dataclass(frozen=True)
class Outcome:
    """What became of one row."""

    status: str
    """"success", "failed_to_download" or "failed_to_resize"."""
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

    Returns:
        what happened how often, for the stage's counts.
    """
    keys = [sample_key(shard, index, samples_per_shard) for index in range(len(outcomes))]
    values: Mapping[str, list[Any]] = {
        "key": keys,
        "status": [outcome.status for outcome in outcomes],
        "error_message": [outcome.error for outcome in outcomes],
        **{name: [getattr(outcome, name) for outcome in outcomes] for name in list(OWN)[3:]},
    }
    table = rows
    for name, kind in OWN.items():
        table = table.append_column(name, pa.array(values[name], kind))
    pq.write_table(table, folder / f"{shard}.parquet")
    with open(folder / f"{shard}.tar", "wb") as file:
        writer = ShardWriter(file)
        for outcome, row in zip(outcomes, table.to_pylist(), strict=True):
            if outcome.status == "success":
                spool.seek(outcome.place[0])
                image = spool.read(outcome.place[1])
                sidecar = json.dumps(row, indent=4, default=str).encode()
                writer.write(row["key"], {suffix: image, "txt": row["caption"].encode(), "json": sidecar})
        writer.close()
    return _write_stats(folder / f"{shard}_stats.json", outcomes)


def _write_stats(path: Path, outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Write img2dataset's statistics without its times, which would make every run's file another one."""
    status = Counter(outcome.status for outcome in outcomes)
    reasons = Counter(outcome.error or "success" for outcome in outcomes)
    hashes = Counter(outcome.sha256 for outcome in outcomes if outcome.sha256)
    repeated = sum(count for count in hashes.values() if count >= PLACEHOLDER_COUNT)
    stats = {
        "count": len(outcomes),
        "successes": status["success"],
        "failed_to_download": status["failed_to_download"],
        "failed_to_resize": status["failed_to_resize"],
        "num_placeholder": repeated,
        "status_dict": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    }
    path.write_text(json.dumps(stats, indent=4), encoding="utf-8")
    failures = {reason: count for reason, count in reasons.items() if reason != "success"}
    placeholders = {"placeholder": repeated} if repeated else {}
    return {"samples": len(outcomes), "success": status["success"], **dict(sorted(failures.items())), **placeholders}
