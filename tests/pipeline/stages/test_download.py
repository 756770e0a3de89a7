import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from functools import partial
from hashlib import md5, sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.download.verdict import phash_of
from pipeline.engine.perform import perform
from pipeline.stages.download import Download
from pipeline.stages.ingest import Ingest
from pipeline.webnoise.faults import fault_of
from winnow.errors import UserError
from winnow.images import decode_image
from winnow.journal import Journal
from winnow.pool import pool_shards, read_table
from winnow.shards import read_shard
from winnow.storage import Store

SIZES = [(300, 200), (120, 90), (200, 300), (64, 64), (500, 100), (256, 256), (333, 217), (90, 400)]


def run(stage):
    """Run every unit of a stage here and journal its rows, as a runner would."""
    outcomes = []
    with stage.session() as live:
        for unit in live.plan():
            outcome = perform(live, unit)
            assert not outcome.error, outcome.detail or outcome.error
            for row in outcome.rows:
                Journal(live.store).append(row)
            outcomes.append(outcome)
    return outcomes


# The demo's web, with all that goes wrong there.

SOURCE = {"use": "webnoise", "num_samples": 140, "num_trusted": 1, "num_heldout": 1}
EXPECTED = {
    "missing": ("failed_to_download", "http 404"),
    "stalled": ("failed_to_download", "timeout: stalled body"),
    "truncated": ("failed_to_resize", "cannot decode"),
    "html": ("failed_to_resize", "not a picture"),
    "redirect_loop": ("failed_to_download", "too many redirects"),
    "huge_claimed": ("failed_to_download", "too large"),
    "huge_streamed": ("failed_to_download", "too large"),
    "noai": ("failed_to_download", "disallowed by X-Robots-Tag"),
}


def demo(folder, **fields):
    return Download(
        pool=str(folder),
        run_dir=str(folder),
        source=SOURCE,
        stall_timeout=1.0,
        max_bytes=2_000_000,
        image_size=128,
        **fields,
    )


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A downloaded demo pool of two shards."""
    folder = tmp_path_factory.mktemp("pool")
    run(Ingest(pool=str(folder), run_dir=str(folder), source=SOURCE, rows_per_file=100))
    run(demo(folder))
    return folder


def test_every_row_ends_as_its_url_misbehaves(pool):
    kinds = set()
    for shard in pool_shards(Store(pool)):
        for row in read_table(Store(pool), shard).to_pylist():
            kind = fault_of("/" + row["url"].split("/", 3)[3])
            status, message = EXPECTED.get(kind, ("success", ""))
            assert row["status"] == status, (kind, row)
            assert (row["error_message"] or "").startswith(message)
            kinds.add(kind)
    assert len(kinds) > 5


def test_samples_stand_sorted_and_say_what_the_table_says(pool):
    store = Store(pool)
    shards = pool_shards(store)
    assert [shard.name for shard in shards] == ["00000", "00001"]
    for number, shard in enumerate(shards):
        table = read_table(store, shard).to_pylist()
        assert [row["key"] for row in table] == [f"{number:05d}{index:02d}" for index in range(len(table))]
        with store.open(shard.tar) as file:
            samples = list(read_shard(file))
        good = [row for row in table if row["status"] == "success"]
        assert [sample.key for sample in samples] == [row["key"] for row in good]
        for sample, row in zip(samples, good, strict=True):
            assert sample.meta == row
            assert sample.caption == row["caption"]
            assert decode_image(sample.image).shape == (row["height"], row["width"], 3)
            assert max(row["width"], row["height"]) <= 128
        stats = json.loads(store.read(f"shards/{shard.name}_stats.json"))
        assert stats["count"] == len(table)
        assert stats["successes"] == len(good) == stats["status_dict"]["success"]
        assert stats["count"] == stats["successes"] + stats["failed_to_download"] + stats["failed_to_resize"]


def test_a_second_download_gives_the_same_bytes(pool, tmp_path):
    (tmp_path / "metadata").symlink_to(pool / "metadata")
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "ingest~metadata.json").write_bytes(
        (pool / "journal" / "ingest~metadata.json").read_bytes()
    )
    run(demo(tmp_path, thread_count=7, decode_threads=1))
    for name in ("00000.tar", "00000.parquet", "00000_stats.json", "00001.tar"):
        assert (tmp_path / "shards" / name).read_bytes() == (pool / "shards" / name).read_bytes()


def test_the_key_follows_what_changes_bytes(pool):
    def keys(**fields):
        return [unit.products for unit in demo(pool, **fields).plan()]

    assert keys(thread_count=3, timeout=1.0, connect_to="127.0.0.1:1") == keys()
    assert keys(encode_quality=95) == keys()
    assert keys(encode_quality=80) != keys()
    assert keys(min_image_size=10) != keys()


def test_no_metadata_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(UserError, match="winnow ingest"):
        demo(tmp_path).plan()


# A folder of pictures behind a plain server, for ourselves and for img2dataset.


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """A metadata table of pictures served on 127.0.0.1, some of them missing or no pictures."""
    folder = tmp_path_factory.mktemp("gallery")
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x010F] = "Camera"
        small.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=95, exif=exif)
    (folder / "8.jpg").write_bytes(b"<html>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    urls = [f"http://127.0.0.1:{server.server_port}/{index}.jpg" for index in range(10)]
    table = pa.table(
        {"url": urls, "text": [f"picture {index}, ünïcode" for index in range(10)], "similarity": [0.25] * 10}
    )
    pq.write_table(table, folder / "list.parquet")
    yield folder / "list.parquet"
    server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """Keep the test's output clean."""


def ours(gallery, folder, **fields):
    """Download the gallery with our own engine and return its table's rows."""
    source = {"use": "files", "path": str(gallery)}
    common = {"pool": str(folder), "run_dir": str(folder), "source": source}
    run(Ingest(**common, rows_per_file=10))
    run(Download(**common, allow_private=("127.0.0.1/32",), image_size=128, **fields))
    (shard,) = pool_shards(Store(folder))
    return read_table(Store(folder), shard)


@pytest.fixture(scope="module")
def theirs(gallery, tmp_path_factory):
    """The same list, downloaded by img2dataset's own downloader, resizer and writer as its workers run them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
        from img2dataset.downloader import Downloader
        from img2dataset.resizer import Resizer
        from img2dataset.writer import WebDatasetSampleWriter
    folder = tmp_path_factory.mktemp("img2dataset")
    table = pq.read_table(gallery).rename_columns(["url", "caption", "similarity"])
    with pa.OSFile(str(folder / "work.feather"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    download = Downloader(
        sample_writer_class=WebDatasetSampleWriter,
        resizer=Resizer(128, "keep_ratio_largest", True),
        thread_count=4,
        save_caption=True,
        extract_exif=True,
        output_folder=str(folder),
        column_list=table.column_names,
        timeout=5,
        number_sample_per_shard=10,
        oom_shard_count=5,
        compute_hash="sha256",
        verify_hash_type=None,
        encode_format="jpg",
        retries=0,
        user_agent_token=None,
        disallowed_header_directives=["noai"],
    )
    assert download((0, str(folder / "work.feather")))[0]
    return folder


def test_a_folder_of_img2dataset_is_a_pool(theirs, gallery):
    store = Store(theirs)
    (shard,) = pool_shards(store)
    assert (shard.name, shard.tar, shard.table) == ("00000", "00000.tar", "00000.parquet")
    assert shard.fingerprint == pool_shards(Store(theirs))[0].fingerprint
    table = read_table(store, shard).to_pylist()
    with store.open(shard.tar) as file:
        samples = list(read_shard(file))
    good = [row for row in table if row["status"] == "success"]
    assert [sample.key for sample in samples] == [row["key"] for row in good]
    assert [sample.caption for sample in samples] == [row["caption"] for row in good]
    assert len(good) == len(SIZES)


def test_our_shard_is_what_img2dataset_makes_of_the_same_list(theirs, gallery, tmp_path):
    table = ours(gallery, tmp_path)
    peer = pq.read_table(theirs / "00000.parquet").sort_by("key")
    assert set(table.column_names) - set(peer.column_names) == {"uid"}
    assert set(peer.column_names) <= set(table.column_names)
    assert [field.type for field in peer.schema] == [table.schema.field(field.name).type for field in peer.schema]
    for name in (
        "key",
        "url",
        "caption",
        "status",
        "width",
        "height",
        "original_width",
        "original_height",
        "similarity",
    ):
        assert table[name].to_pylist() == peer[name].to_pylist(), name
    good = [row["status"] == "success" for row in peer.to_pylist()]
    assert table.filter(good)["sha256"].equals(peer.filter(good)["sha256"])
    assert '"Image Make": "Camera"' in table["exif"][0].as_py()

    ours_tar, peer_tar = (_members(path) for path in (tmp_path / "shards" / "00000.tar", theirs / "00000.tar"))
    assert sorted(ours_tar) == sorted(peer_tar)
    for name, data in ours_tar.items():
        if name.endswith(".json"):
            assert set(json.loads(data)) - {"uid"} == set(json.loads(peer_tar[name]))
        elif name.endswith(".jpg"):
            pair = [np.asarray(Image.open(io.BytesIO(picture))).astype(int) for picture in (data, peer_tar[name])]
            assert pair[0].shape == pair[1].shape
            assert np.abs(pair[0] - pair[1]).mean() < 4
    ours_stats, peer_stats = (
        json.loads(path.read_text()) for path in (tmp_path / "shards" / "00000_stats.json", theirs / "00000_stats.json")
    )
    counted = ("count", "successes", "failed_to_download", "failed_to_resize")
    assert [ours_stats[name] for name in counted] == [peer_stats[name] for name in counted]
    assert set(peer_stats) - set(ours_stats) == {"duration", "start_time", "end_time"}


def _members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_the_engine_img2dataset_makes_its_pictures_in_our_order(theirs, gallery, tmp_path):
    source = {"use": "files", "path": str(gallery)}
    shards = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        common = {"pool": str(folder), "run_dir": str(folder), "source": source}
        run(Ingest(**common, rows_per_file=10))
        run(Download(**common, engine="img2dataset", image_size=128, retries=0, timeout=5))
        shards.append(
            {end: (folder / f"shards/00000{end}").read_bytes() for end in (".tar", ".parquet", "_stats.json")}
        )
    assert shards[0] == shards[1]
    mine, peer = (_members(path) for path in (tmp_path / "a/shards/00000.tar", theirs / "00000.tar"))
    assert [name for name in mine if name.endswith("jpg")] == sorted(name for name in peer if name.endswith("jpg"))
    assert all(mine[name] == peer[name] for name in peer if name.endswith((".jpg", ".txt")))
    table, other = pq.read_table(tmp_path / "a/shards/00000.parquet"), pq.read_table(theirs / "00000.parquet")
    for name in set(other.column_names) - {"exif"}:
        assert table[name].to_pylist() == other.sort_by("key")[name].to_pylist(), name


def test_the_engine_img2dataset_refuses_what_it_cannot_honour(tmp_path):
    with pytest.raises(ValueError, match="cannot honour 'robots'"):
        Download(pool=str(tmp_path), run_dir=str(tmp_path), engine="img2dataset", robots="obey")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_img2dataset_command_makes_the_same_folder(theirs, gallery, tmp_path):
    script = tmp_path / "peer.py"
    options = {
        "url_list": str(gallery),
        "output_folder": str(tmp_path / "out"),
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "text",
        "save_additional_columns": ["similarity"],
        "output_format": "webdataset",
        "image_size": 128,
        "resize_mode": "keep_ratio_largest",
        "resize_only_if_bigger": True,
        "processes_count": 1,
        "thread_count": 4,
        "number_sample_per_shard": 10,
        "compute_hash": "sha256",
    }
    script.write_text(f"from img2dataset import download\nif __name__ == '__main__':\n    download(**{options!r})\n")
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": ""}
    subprocess.run([sys.executable, str(script)], check=True, env=environment, capture_output=True, timeout=300)
    (shard,) = pool_shards(Store(tmp_path / "out"))
    table = read_table(Store(tmp_path / "out"), shard)
    assert set(table.column_names) == set(pq.read_schema(theirs / "00000.parquet").names)
    assert sorted(_members(tmp_path / "out" / "00000.tar")) == sorted(_members(theirs / "00000.tar"))


@pytest.mark.parametrize("mode", ["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"])
@pytest.mark.parametrize("only_if_bigger", [True, False])
def test_sizes_are_those_of_img2datasets_resizer(gallery, mode, only_if_bigger, monkeypatch):
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    from img2dataset.resizer import Resizer as Peer

    from pipeline.download.resize import Resizer

    peer = Peer(128, mode, only_if_bigger)
    mine = Resizer(image_size=128, resize_mode=mode, resize_only_if_bigger=only_if_bigger)
    for index in range(len(SIZES)):
        data = (gallery.parent / f"{index}.jpg").read_bytes()
        encoded, width, height, original_width, original_height, error = peer(io.BytesIO(data))
        made = mine(data)
        assert error is None
        assert (made.width, made.height) == (width, height)
        assert (made.original_width, made.original_height) == (original_width, original_height)
        difference = decode_image(made.data).astype(int) - decode_image(encoded).astype(int)
        assert np.abs(difference).mean() < 5


def test_private_addresses_are_refused_by_default(gallery, tmp_path):
    source = {"use": "files", "path": str(gallery)}
    common = {"pool": str(tmp_path), "run_dir": str(tmp_path), "source": source}
    run(Ingest(**common))
    (outcome,) = run(Download(**common))
    assert outcome.rows[0].counts == {"samples": 10, "success": 0, "private address": 10}


def listed(gallery, folder, **columns):
    """Write the gallery's list with more columns, and return where."""
    folder.mkdir(exist_ok=True)
    table = pq.read_table(gallery)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(list(values) + [None] * (table.num_rows - len(values))))
    pq.write_table(table, folder / "list.parquet")
    return folder / "list.parquet"


def test_hashes_are_compared_and_the_policy_decides(gallery, tmp_path):
    bodies = [(gallery.parent / f"{index}.jpg").read_bytes() for index in range(8)]
    smaller = io.BytesIO()
    Image.open(io.BytesIO(bodies[2])).resize((100, 150)).save(smaller, "JPEG", quality=60)
    hashes = [f"{phash_of(decode_image(data)):016x}" for data in (bodies[0], bodies[1], smaller.getvalue(), bodies[4])]
    columns = {
        "sha256": [sha256(bodies[0]).hexdigest(), "0" * 64, "0" * 64, "0" * 64, None, None],
        "phash": [hashes[0], None, hashes[2], hashes[3], None, None],
        "md5": [None, None, None, None, md5(bodies[4], usedforsecurity=False).hexdigest().upper(), "0" * 32],
    }
    path = listed(gallery, tmp_path / "in", **columns)
    report = ours(path, tmp_path / "report", verify_hash="report").to_pylist()
    verdicts = [
        "exact",
        "changed",
        "same_picture",
        "changed",
        "exact",
        "changed",
        "unknown",
        "unknown",
        "unknown",
        None,
    ]
    assert [row["hash_verdict"] for row in report] == verdicts
    assert [row["status"] for row in report[:8]] == ["success"] * 8
    dropped = ours(path, tmp_path / "drop", verify_hash="drop_changed").to_pylist()
    assert [row["hash_verdict"] for row in dropped] == verdicts
    failed = [n for n, row in enumerate(dropped) if row["error_message"] == "hash mismatch"]
    assert failed == [1, 3, 5]
    assert all(dropped[n]["status"] == "failed_to_download" for n in failed)
    assert "hash_verdict" not in ours(path, tmp_path / "off").column_names


def test_faces_are_blurred_where_the_pool_knows_them(gallery, tmp_path):
    boxes = [[[0.25, 0.25, 0.5, 0.5]], [], None]
    plain = ours(gallery, tmp_path / "plain")
    blurred = ours(listed(gallery, tmp_path / "in", face_bboxes=boxes), tmp_path / "pool", blur_faces=True)
    assert blurred["face_bboxes"].to_pylist()[:2] == boxes[:2]
    pairs = []
    for folder in ("plain", "pool"):
        members = _members(tmp_path / folder / "shards" / "00000.tar")
        pairs.append([decode_image(members[f"{key}.jpg"]).astype(int) for key in plain["key"].to_pylist()[:3]])
    changed = [np.abs(one - other) for one, other in zip(*pairs, strict=True)]
    height, width = changed[0].shape[:2]
    assert changed[0][height // 4 : height // 2, width // 4 : width // 2].mean() > 1
    assert changed[0][int(height * 0.8) :, int(width * 0.8) :].max() == 0
    assert changed[1].max() == changed[2].max() == 0
    with pytest.raises(AssertionError, match="face_bboxes"):
        ours(gallery, tmp_path / "none", blur_faces=True)


def test_conversions_are_recorded_or_refused(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "0.jpg", exif=exif)
    Image.fromarray(pixels).convert("CMYK").save(folder / "1.jpg")
    Image.fromarray(np.dstack([pixels, pixels[..., :1]])).save(folder / "2.png")
    frames = [Image.fromarray(255 - pixels), Image.fromarray(pixels)]
    Image.fromarray(pixels).save(folder / "3.gif", save_all=True, append_images=frames)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "4.png")
    Image.fromarray(pixels).save(folder / "5.jpg")
    names = ["0.jpg", "1.jpg", "2.png", "3.gif", "4.png", "5.jpg"]
    traits = ["orientation", "cmyk", "alpha", "animation", "16-bit", None]
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    urls = [f"http://127.0.0.1:{server.server_port}/{name}" for name in names]
    pq.write_table(pa.table({"url": urls, "text": names}), tmp_path / "list.parquet")
    try:
        kept = ours(tmp_path / "list.parquet", tmp_path / "kept", record_conversions=True).to_pylist()
        refused = ours(tmp_path / "list.parquet", tmp_path / "refused", refuse=[t for t in traits if t]).to_pylist()
    finally:
        server.shutdown()
        server.server_close()
    assert [row["converted"] for row in kept] == traits
    assert [(row["width"], row["height"]) for row in kept] == [(40, 60), *[(60, 40)] * 5]
    assert [row["error_message"] for row in refused] == [f"refused: {t}" if t else None for t in traits]
    stats = json.loads((tmp_path / "kept/shards/00000_stats.json").read_text())
    assert stats["converted"] == dict.fromkeys(sorted(t for t in traits if t), 1)


def test_sidecars_are_written_as_json_writes_them(gallery, tmp_path):
    """Byte for byte as json.dumps(row, indent=4), which is what img2dataset writes."""
    tags = [["a", 'quoted "b"'], [], None, ["ünïcode"]]
    table = ours(listed(gallery, tmp_path / "in", tags=tags, score=[0.1, float("nan"), 1e-9]), tmp_path / "pool")
    members = _members(tmp_path / "pool" / "shards" / "00000.tar")
    for row in table.to_pylist():
        if row["status"] == "success":
            assert members[f"{row['key']}.json"] == json.dumps(row, indent=4).encode()


def test_metadata_with_a_column_of_ours_is_refused(tmp_path):
    (tmp_path / "metadata").mkdir()
    table = pa.table({"uid": ["0" * 32], "url": ["http://a/1"], "text": ["x"], "status": ["?"]})
    pq.write_table(table, tmp_path / "metadata" / "00000.parquet")
    stage = Download(pool=str(tmp_path), run_dir=str(tmp_path))
    assert "'status'" in perform(stage, stage.plan()[0]).error
