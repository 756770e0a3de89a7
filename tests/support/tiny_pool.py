"""A pool of a few drawn pictures, as a download would have left it, without a download."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from winnow.shards import ShardWriter
from winnow.uid import make_uid

__all__ = ["write_pool"]


def write_pool(folder: Path, num_shards: int = 2, samples_per_shard: int = 6) -> list[str]:
    """Write an img2dataset-like pool into `folder`; the last row of every shard failed. Return the uids by row."""
    uids = []
    for shard in range(num_shards):
        rows = [_row(shard, index, samples_per_shard) for index in range(samples_per_shard)]
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        with (folder / "shards" / f"{shard:05d}.tar").open("wb") as file:
            writer = ShardWriter(file)
            for row in rows:
                if row["status"] == "success":
                    meta = {name: value for name, value in row.items() if name != "picture"}
                    members = {"jpg": row["picture"], "txt": row["caption"].encode(), "json": json.dumps(meta).encode()}
                    writer.write(row["key"], members)
            writer.close()
        table = pa.Table.from_pylist([{name: row[name] for name in row if name != "picture"} for row in rows])
        pq.write_table(table, folder / "shards" / f"{shard:05d}.parquet")
        uids += [row["uid"] for row in rows]
    return uids


def _row(shard: int, index: int, samples_per_shard: int) -> dict:  # type: ignore[type-arg]
    """Return one table row and its picture."""
    number = shard * samples_per_shard + index
    ok = index < samples_per_shard - 1
    pixels = np.random.default_rng(number).integers(0, 256, (240, 260, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    url, caption = f"http://pictures.test/{number}.jpg", f"picture number {number} of a tiny pool"
    return {
        "url": url,
        "caption": caption,
        "key": f"{shard:05d}{index:04d}",
        "uid": make_uid(url, caption),
        "status": "success" if ok else "failed_to_download",
        "error_message": None if ok else "HTTP 404",
        "width": 260 if ok else None,
        "height": 240 if ok else None,
        "original_width": 260 if ok else None,
        "original_height": 240 if ok else None,
        "sha256": f"{number:064x}" if ok else None,
        "picture": buffer.getvalue(),
    }
