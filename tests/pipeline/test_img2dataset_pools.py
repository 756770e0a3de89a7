"""What img2dataset writes, in its many settings, is a pool as it stands; every test runs its own code."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine.perform import perform
from pipeline.pools.recovery import recover
from pipeline.pools.verify import Verification, verify
from pipeline.stage import Stage
from pipeline.stages.reshard import Reshard
from pipeline.stages.score import Score
from pipeline.stages.select import Select
from winnow.columns import read_column_file
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.pool import pool_shards, pool_tables
from winnow.shards import read_shard
from winnow.storage import Store
from winnow.uid import from_hex, make_uid

NUM = 11
UIDS = [f"{n * 2**90 + 7:032x}" for n in range(NUM)]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pa.Table]:
    """A list of pictures on 127.0.0.1: one is missing, one is no picture, one has no caption, one is a duplicate."""
    folder = tmp_path_factory.mktemp("gallery")
    for index in range(NUM):
        pixels = np.random.default_rng(index).integers(0, 256, (40 + index, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg")
    (folder / "4.jpg").unlink()
    (folder / "7.jpg").write_bytes(b"<html>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    urls = [f"http://127.0.0.1:{server.server_port}/{index}.jpg" for index in range(NUM)]
    captions = [f"picture {index}, ünïcode" if index != 2 else None for index in range(NUM)]
    yield pa.table({"url": urls, "caption": captions, "uid": UIDS, "weight": [n / 4 for n in range(NUM)]})
    server.shutdown()


def download(
    table: pa.Table,
    folder: Path,
    *,
    per_shard: int = 4,
    columns: tuple[str, ...] = ("url", "caption"),
    writer: str = "WebDatasetSampleWriter",
    resize: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Run what img2dataset's workers run: its reader's work files, downloader, resizer and writer."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    from img2dataset import writer as writers
    from img2dataset.downloader import Downloader
    from img2dataset.resizer import Resizer

    folder.mkdir()
    fields: dict[str, Any] = {
        "oom_shard_count": 5,
        "compute_hash": "sha256",
        "encode_format": "jpg",
        "extract_exif": True,
        **settings,
    }
    downloader = Downloader(
        sample_writer_class=getattr(writers, writer),
        resizer=Resizer(32, "border", False, encode_format=fields["encode_format"], **(resize or {})),
        thread_count=3,
        save_caption="caption" in columns,
        output_folder=str(folder),
        column_list=list(columns),
        timeout=5,
        number_sample_per_shard=per_shard,
        verify_hash_type=None,
        retries=0,
        user_agent_token=None,
        disallowed_header_directives=["noai"],
        **fields,
    )
    for shard, start in enumerate(range(0, table.num_rows, per_shard)):
        work = table.select(columns).slice(start, per_shard)
        path = folder / f"{shard}.feather"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, work.schema) as feather:
            feather.write_table(work)
        assert downloader((shard, str(path)))[0]
    return folder


def run(stage: Stage) -> None:
    for unit in stage.plan():
        outcome = perform(stage, unit)
        assert not outcome.error, outcome.detail or outcome.error
        for row in outcome.rows:
            Journal(stage.store).append(row)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "a list of urls": {
        "columns": ("url",),
        "compute_hash": None,
        "encode_format": "png",
        "extract_exif": False,
        "resize": {"encode_quality": 6},
    },
    "datacomp": {"columns": ("url", "caption", "uid"), "oom_shard_count": 8, "per_shard": 10_000},
    "md5 and more": {"columns": ("weight", "caption", "url"), "compute_hash": "md5", "encode_format": "webp"},
    "as it came": {"compute_hash": "sha512", "per_shard": 1, "resize": {"disable_all_reencoding": True}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_goes_through_the_loop(gallery: pa.Table, tmp_path: Path, name: str) -> None:
    settings = SETTINGS[name]
    folder = download(gallery, tmp_path / "pool", **settings)
    columns = settings.get("columns", ("url", "caption"))
    unseen = name == "as it came"  # without encoding it does not decode either, and takes a web page for a picture
    good = [n for n in range(NUM) if n not in ((4,) if unseen else (4, 7))]
    texts = [gallery["caption"][n].as_py() or "" if "caption" in columns else "" for n in good]
    urls = [gallery["url"][n].as_py() for n in good]
    uids = [UIDS[n] for n in good] if "uid" in columns else list(map(make_uid, urls, texts))

    findings = [str(finding) for finding in verify(Store(folder), Verification())]
    assert findings == (["00007.tar 00007: its picture: not a picture: no known image format"] if unseen else [])
    found = recover(Store(folder))
    assert (found.asked, found.obtained) == (NUM, len(good))
    assert (found.uids == np.sort(from_hex(uids))).all()

    common = {"pool": str(folder), "run_dir": str(tmp_path / "run")}
    run(Score(**common, scorers={"image_stats": {}, "caption_stats": {}}))
    stats = pa.concat_tables(
        [read_column_file(Store(folder), "image_stats", shard.name) for shard in pool_shards(Store(folder))]
    )
    assert sorted(stats["uid"].to_pylist()) == sorted(uids)
    assert stats["error"].null_count == NUM - 2
    chars = pa.concat_tables(
        [read_column_file(Store(folder), "caption_stats", shard.name) for shard in pool_shards(Store(folder))]
    )
    of = dict(zip(chars["uid"].to_pylist(), chars["num_chars"].to_pylist(), strict=True))
    assert [of[uid] for uid in uids] == [len(text) for text in texts]

    strategies = {
        "no_filter": {},
        "wide": {"use": "clip_score", "score": "image_stats.height", "threshold": 1.0},
    }
    run(Select(**common, strategies=strategies))
    kept = [uid for uid, n in zip(uids, good, strict=True) if n != 7]
    assert (np.load(tmp_path / "run/subsets/wide.npy") == np.sort(from_hex(kept))).all()
    run(Reshard(**common, strategies=["wide"]))
    with (tmp_path / "run/shards/wide/00000000.tar").open("rb") as file:
        samples = list(read_shard(file))
    suffix = settings.get("encode_format", "jpg")
    assert sorted(sample.key for sample in samples) == sorted(f"{uid}-0" for uid in kept)
    assert all(suffix in sample.members and sample.image for sample in samples)
    expected = {url: text for url, text, n in zip(urls, texts, good, strict=True) if n != 7}
    assert {sample.meta["url"]: sample.caption for sample in samples} == expected


@pytest.mark.parametrize(
    ("writer", "name"),
    [("FilesSampleWriter", "files"), ("ParquetSampleWriter", "parquet"), ("DummySampleWriter", "dummy")],
)
def test_other_output_formats_are_named_and_refused(gallery: pa.Table, tmp_path: Path, writer: str, name: str) -> None:
    folder = download(gallery.slice(0, 2), tmp_path / "pool", writer=writer)
    for read in (pool_shards, pool_tables):
        with pytest.raises(UserError, match=f"output_format '{name}', which cannot be read; only `webdataset`"):
            read(Store(folder))  # type: ignore[operator]


def test_tars_without_tables_get_them(gallery: pa.Table, tmp_path: Path) -> None:
    """DataComp's resharder writes tars with the key <uid>-<copy> and statistics, and no tables."""
    folder = download(gallery, tmp_path / "pool", columns=("url", "caption", "uid"), oom_shard_count=8)
    before = recover(Store(folder))
    tables = {path.name: pq.read_table(path) for path in sorted(folder.glob("*.parquet"))}
    for name in tables:
        (folder / name).unlink()
    with pytest.raises(UserError, match="winnow index POOL"):
        pool_shards(Store(folder))
    done = CliRunner().invoke(app, ["index", str(folder)])
    assert done.exit_code == 0
    for name, table in tables.items():
        made = pq.read_table(folder / name)
        good = table.filter(pa.array([status == "success" for status in table["status"].to_pylist()]))
        for column in good.column_names:
            mine = made[column].to_pylist()
            wanted = ["" if v is None and column == "caption" else v for v in good[column].to_pylist()]
            assert mine == wanted, column
    assert (recover(Store(folder)).uids == before.uids).all()
    assert CliRunner().invoke(app, ["index", str(folder)]).exit_code == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("input_format", ["csv", "jsonl", "txt"])
def test_the_command_itself(gallery: pa.Table, tmp_path: Path, input_format: str) -> None:
    path = tmp_path / f"list.{input_format}"
    rows = gallery.to_pylist()
    if input_format == "csv":
        gallery.to_pandas().to_csv(path, index=False)
    elif input_format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text("".join(row["url"] + "\n" for row in rows))
    options: dict[str, Any] = {
        "url_list": str(path),
        "input_format": input_format,
        "output_folder": str(tmp_path / "pool"),
        "output_format": "webdataset",
        "encode_format": "png",
        "encode_quality": 6,
        "number_sample_per_shard": 3,
        "oom_shard_count": 7,
        "compute_hash": "md5",
        "processes_count": 1,
        "thread_count": 4,
        "image_size": 32,
    }
    if input_format != "txt":
        options |= {"caption_col": "caption", "save_additional_columns": ["uid"]}
    script = tmp_path / "peer.py"
    script.write_text(f"from img2dataset import download\nif __name__ == '__main__':\n    download(**{options!r})\n")
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": ""}
    subprocess.run([sys.executable, str(script)], check=True, env=environment, capture_output=True, timeout=200)
    assert list(verify(Store(tmp_path / "pool"), Verification())) == []
    assert [shard.name for shard in pool_shards(Store(tmp_path / "pool"))] == [f"{n:07d}" for n in range(4)]
    found = recover(Store(tmp_path / "pool"))
    assert (found.asked, found.obtained) == (NUM, NUM - 2)
