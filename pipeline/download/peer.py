"""Let img2dataset download a shard: its Downloader as its workers run it, its shard then put into our order.

Its members stand in the order in which downloads ended, another one each time; its statistics hold times. What it made
of the pictures is kept byte for byte.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.download.convert import Row
from pipeline.download.resize import Resizer
from pipeline.download.shard import Outcome
from winnow.errors import require
from winnow.shards import read_shard

__all__ = ["collect_with_img2dataset"]


def collect_with_img2dataset(
    rows: Sequence[Row],
    attempt: Path,
    spool: IO[bytes],
    settings: Resizer,
    *,
    thread_count: int,
    extract_exif: bool,
    timeout: float,
    retries: int,
    user_agent_token: str | None,
    disallowed_header_directives: Sequence[str],
) -> list[Outcome]:
    """Return the outcome of every row, in their order; pictures go to `spool`.

    Args:
        rows: n rows.
        attempt: folder to work in.
        spool: empty file.
        settings: how pictures are resized and encoded.
        thread_count: img2dataset's, like all that follow.
        extract_exif: whether its tables tell a picture's EXIF.
        timeout: seconds.
        retries: further attempts at a URL.
        user_agent_token: added to the user agent.
        disallowed_header_directives: words of X-Robots-Tag that refuse a picture.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version
    downloader, resizer, writer = (
        require(f"img2dataset.{name}", "dev") for name in ("downloader", "resizer", "writer")
    )
    folder = attempt / "img2dataset"
    folder.mkdir()
    asked = [index for index, row in enumerate(rows) if row.settled is None]
    work = pa.table({"url": [rows[index].url for index in asked], "caption": [""] * len(asked)})
    with pa.OSFile(str(folder / "work.feather"), "wb") as sink, pa.ipc.new_file(sink, work.schema) as out:
        out.write_table(work)
    download = downloader.Downloader(
        sample_writer_class=writer.WebDatasetSampleWriter,
        resizer=resizer.Resizer(
            settings.image_size,
            settings.resize_mode,
            settings.resize_only_if_bigger,
            encode_quality=settings.encode_quality,
            encode_format=settings.encode_format,
            skip_reencode=settings.skip_reencode,
            min_image_size=settings.min_image_size,
            max_image_area=settings.max_image_area,
            max_aspect_ratio=settings.max_aspect_ratio,
        ),
        thread_count=thread_count,
        save_caption=True,
        extract_exif=extract_exif,
        output_folder=str(folder),
        column_list=["url", "caption"],
        timeout=timeout,
        number_sample_per_shard=max(2, len(asked)),
        oom_shard_count=5,
        compute_hash="sha256",
        verify_hash_type=None,
        encode_format=settings.encode_format,
        retries=retries,
        user_agent_token=user_agent_token,
        disallowed_header_directives=list(disallowed_header_directives) or None,
    )
    download.download_shard((0, str(folder / "work.feather")))
    outcomes = [row.settled for row in rows]
    table = pq.read_table(folder / "00000.parquet").to_pylist()
    digits = math.ceil(math.log10(max(2, len(asked))))
    by_key = {row["key"]: row for row in table}
    with (folder / "00000.tar").open("rb") as file:
        pictures = {sample.key: sample.image for sample in read_shard(file, "img2dataset's shard")}
    for place, index in enumerate(asked):
        key = f"{place:0{digits + 5}d}"
        # a row that its downloader lost to an error of its own is not in its table
        row = by_key.get(key, {"status": "failed_to_download", "error_message": "lost by img2dataset"})
        outcomes[index] = _outcome(row, pictures.get(key), spool)
    return [outcome for outcome in outcomes if outcome is not None]


def _outcome(row: Mapping[str, Any], picture: bytes | None, spool: IO[bytes]) -> Outcome:
    """Return a row of its table as an outcome of ours."""
    if row["status"] != "success" or picture is None:
        status = "failed_to_download" if row["status"] == "success" else row["status"]
        return Outcome(status, row["error_message"] or "lost by img2dataset", sha256=row.get("sha256"))
    place = spool.tell(), len(picture)
    spool.write(picture)
    sizes = {name: row[name] for name in ("width", "height", "original_width", "original_height", "sha256")}
    return Outcome("success", place=place, exif=_without_position(row.get("exif")), **sizes)


def _without_position(exif: str | None) -> str | None:
    """Return its EXIF string without the tags that say where a picture was taken."""
    if exif is None:
        return None
    tags = json.loads(exif)
    return json.dumps({name: value for name, value in tags.items() if not name.startswith(("GPS", "Image GPS"))})
