"""A pool is damaged in every way that is promised to be found, one at a time."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_pool import write_pool
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine.perform import perform
from pipeline.pools.index import index
from pipeline.pools.verify import Verification, verify
from pipeline.stages.score import Score
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.shards import ShardWriter, read_shard
from winnow.storage import Store

SHARD = "shards/00001"


def journal(pool: Store, product: str, names: list[str]) -> None:
    """Write the row of a product whose files stand as they shall be."""
    files = {}
    for name in names:
        data = pool.read(name)
        files[name] = (len(data), hashlib.sha256(data).hexdigest())
    Journal(pool).append(Row(product=product, key="k", files=files))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of three shards with metadata, statistics, columns and a complete journal."""
    folder = tmp_path_factory.mktemp("sound")
    write_pool(folder, 3, 6)
    pool = Store(folder)
    (folder / "metadata").mkdir()
    for name in ("00000", "00001", "00002"):
        table = pq.read_table(folder / "shards" / f"{name}.parquet")
        pq.write_table(table.select(["uid", "url"]), folder / "metadata" / f"{name}.parquet")
        stats = {"count": 6, "successes": 5, "failed_to_download": 1, "failed_to_resize": 0, "status_dict": {}}
        (folder / "shards" / f"{name}_stats.json").write_text(json.dumps(stats))
        journal(pool, f"download/{name}", [f"shards/{name}{end}" for end in (".tar", ".parquet", "_stats.json")])
    journal(pool, "ingest/metadata", [f"metadata/0000{n}.parquet" for n in range(3)])
    stage = Score(pool=pool.url, run_dir=pool.url, scorers={"caption_stats": {}})
    for unit in stage.plan():
        for row in perform(stage, unit).rows:
            Journal(pool).append(row)
    return folder


def lines(pool: Path, **options: Any) -> list[str]:
    return [str(finding) for finding in verify(Store(pool), Verification(), **options)]


def rewrite_tar(pool: Path, change: Callable[[list[Any]], None]) -> None:
    path = pool / f"{SHARD}.tar"
    with path.open("rb") as file:
        samples = list(read_shard(file))
    change(samples)
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for sample in samples:
            writer.write(sample.key, sample.members)
        writer.close()
    again(pool)


def rewrite_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def again(pool: Path) -> None:
    """Make the journal agree with the files, so that only what they say of each other is wrong."""
    store = Store(pool)
    for product, row in dict(Journal(store).rows).items():
        journal(store, product, [name for name in row.files if store.exists(name)])


def other_uid(samples: list[Any]) -> None:
    meta = json.loads(samples[2].members["json"]) | {"uid": "0" * 32}
    samples[2].members["json"] = json.dumps(meta).encode()


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def set_column(name: str, values: list[Any]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values))


def duplicate(pool: Path) -> None:
    """Put a sample of shard 0 into shard 1 as well, in all its files."""
    uid = pq.read_table(pool / "shards/00000.parquet")["uid"][0].as_py()

    def table(old: pa.Table) -> pa.Table:
        return set_column("uid", [uid, *old["uid"].to_pylist()[1:]])(old)

    for name in (f"{SHARD}.parquet", "metadata/00001.parquet", "columns/caption_stats/00001.parquet"):
        rewrite_table(pool / name, table)

    def sidecar(samples: list[Any]) -> None:
        meta = json.loads(samples[0].members["json"]) | {"uid": uid}
        samples[0].members["json"] = json.dumps(meta).encode()

    rewrite_tar(pool, sidecar)


def lose_shard(pool: Path) -> None:
    for end in (".tar", ".parquet", "_stats.json"):
        (pool / f"{SHARD}{end}").unlink()
    (pool / "columns/caption_stats/00001.parquet").unlink()
    (pool / "journal/download~00001.json").unlink()
    (pool / "journal/score~caption_stats~00001.json").unlink()


DAMAGES: list[Any] = [
    pytest.param(lambda p: (p / f"{SHARD}.tar").unlink(), [f"{SHARD}.tar: missing; the journal has it"], id="missing"),
    pytest.param(
        lambda p: (p / f"{SHARD}.parquet").write_bytes((p / f"{SHARD}.parquet").read_bytes()[:-9]),
        [f"{SHARD}.parquet: ", "the journal has", f"{SHARD}.parquet: cannot be read"],
        id="size",
    ),
    pytest.param(lambda p: flip(p / f"{SHARD}.tar"), [f"{SHARD}.tar: sha256", "the journal has"], id="one bit"),
    pytest.param(
        lambda p: ((p / f"{SHARD}.tar").write_bytes((p / f"{SHARD}.tar").read_bytes()[:40000]), again(p)),
        [f"{SHARD}.tar: cut short"],
        id="truncated tar",
    ),
    pytest.param(
        lambda p: (
            (p / f"{SHARD}.tar").write_bytes(b"\xff" * 100 + (p / f"{SHARD}.tar").read_bytes()[100:]),
            again(p),
        ),
        [f"{SHARD}.tar: damaged tar header at byte 0"],
        id="corrupt header",
    ),
    pytest.param(
        lambda p: rewrite_tar(p, lambda samples: samples.pop(1)),
        [f"{SHARD}.tar: 4 samples, its table has 5"],
        id="a sample less",
    ),
    pytest.param(
        lambda p: rewrite_tar(p, lambda samples: samples.reverse()),
        [f"{SHARD}.tar: sample 0 is '000010004', its table has '000010000'"],
        id="another order",
    ),
    pytest.param(
        lambda p: rewrite_tar(p, other_uid), [f"{SHARD}.tar 000010002: uid {'0' * 32} in its json"], id="another uid"
    ),
    pytest.param(
        lambda p: rewrite_tar(p, lambda samples: samples[3].members.pop("jpg")),
        [f"{SHARD}.tar 000010003: it has no picture"],
        id="no picture",
    ),
    pytest.param(
        lambda p: rewrite_tar(p, lambda samples: samples[3].members.update(json=b"{broken")),
        [f"{SHARD}.tar 000010003: its json cannot be read"],
        id="broken json",
    ),
    pytest.param(duplicate, ["2 samples have it, in shards 00000, 00001"], id="duplicate uid"),
    pytest.param(
        lambda p: (rewrite_table(p / "columns/caption_stats/00001.parquet", lambda t: t.slice(1)), again(p)),
        ["columns/caption_stats/00001.parquet: 4 rows, the shard has 5 samples"],
        id="column rows",
    ),
    pytest.param(
        lambda p: (
            rewrite_table(p / "columns/caption_stats/00001.parquet", lambda t: t.take([1, 0, 2, 3, 4])),
            again(p),
        ),
        ["columns/caption_stats/00001.parquet: row 0 is"],
        id="column order",
    ),
    pytest.param(
        lambda p: shutil.copy(p / "columns/caption_stats/00001.parquet", p / "columns/caption_stats/00007.parquet"),
        [
            "columns/caption_stats/00007.parquet: no row of the journal vouches for it",
            "columns/caption_stats/00007.parquet: the pool has no such shard",
        ],
        id="column without shard",
    ),
    pytest.param(
        lambda p: (p / "columns/caption_stats/00001.parquet").unlink(),
        [
            "columns/caption_stats/00001.parquet: missing; the journal has it",
            "columns/caption_stats/00001.parquet: missing: other shards",
        ],
        id="shard without column",
    ),
    pytest.param(
        lambda p: (p / "journal/download~00001.json").unlink(),
        [f"{SHARD}{end}: no row of the journal vouches for it" for end in (".parquet", ".tar", "_stats.json")],
        id="files without row",
    ),
    pytest.param(
        lambda p: (p / "journal/download~00001.json").write_text("{"),
        ["journal/download~00001.json: this row of the journal cannot be read"]
        + [f"{SHARD}{end}: no row of the journal vouches for it" for end in (".parquet", ".tar", "_stats.json")],
        id="broken row",
    ),
    pytest.param(lose_shard, ["shard 00001: a gap in the numbering"], id="gap"),
    pytest.param(
        lambda p: ((p / f"{SHARD}_stats.json").unlink(), again(p)),
        [f"{SHARD}_stats.json: missing: the shard is not finished"],
        id="no stats",
    ),
    pytest.param(
        lambda p: ((p / f"{SHARD}_stats.json").write_text('{"count": 6, "successes": 6}'), again(p)),
        [f"{SHARD}_stats.json: successes 6, the table has 5"],
        id="wrong stats",
    ),
    pytest.param(
        lambda p: (rewrite_table(p / "metadata/00001.parquet", lambda t: t.take([1, 0, 2, 3, 4, 5])), again(p)),
        [f"{SHARD}.parquet: row 0 is", "metadata/00001.parquet has"],
        id="other metadata",
    ),
]


def test_a_sound_pool_has_no_mismatch(sound: Path) -> None:
    done = Verification()
    assert list(verify(Store(sound), done)) == []
    assert (done.shards, done.samples, done.files, done.column_files, done.findings) == (3, 15, 15, 3, 0)


@pytest.mark.parametrize(("change", "expected"), DAMAGES)
def test_every_damage_is_named(sound: Path, tmp_path: Path, change: Callable[[Path], Any], expected: list[str]) -> None:
    pool = tmp_path / "pool"
    shutil.copytree(sound, pool)
    change(pool)
    found = lines(pool)
    for words in expected:
        assert any(words in line for line in found), found
    others = [line for line in found if not any(words in line for words in expected)]
    assert others == []


def test_quick_compares_sizes_alone(sound: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    shutil.copytree(sound, pool)
    path = pool / "metadata/00001.parquet"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"parquet-cpp-arrow", b"parquet-cpp-Arrow"))
    assert len(lines(pool)) == 1
    assert lines(pool, quick=True) == []
    path.write_bytes(data + b"x")
    assert any("bytes, the journal has" in line for line in lines(pool, quick=True))


def test_a_pool_without_a_journal_is_checked_as_far_as_possible(sound: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    shutil.copytree(sound / "shards", pool)  # at the top, as img2dataset leaves it
    assert lines(pool) == []
    data = (pool / "00001.tar").read_bytes()
    jpg = data.index(b"\xff\xd8\xff")
    (pool / "00001.tar").write_bytes(data[: jpg + 5000] + bytes(9000) + data[jpg + 14000 :])
    (found,) = lines(pool)
    assert found.startswith("00001.tar 000010000: its picture: cannot decode")
    assert lines(pool, quick=True) == []
    (pool / "00001.tar").write_bytes(data[:70000])
    (pool / "00002.parquet").unlink()
    (pool / "00000_stats.json").unlink()
    shutil.move(pool / "00002.tar", pool / "00004.tar")
    found = lines(pool)
    for words in (
        "00001.tar: cut short",
        "00002.parquet: missing",
        "00002.tar: missing",
        "00004.parquet: missing",
        "00000_stats.json: missing: the shard is not finished",
        "shard 00003: a gap in the numbering",
    ):
        assert any(words in line for line in found), (words, found)


def test_the_command_prints_a_line_each_and_exits_with_1(sound: Path, tmp_path: Path) -> None:
    fine = CliRunner().invoke(app, ["verify", str(sound)])
    assert fine.exit_code == 0
    pool = tmp_path / "pool"
    shutil.copytree(sound, pool)
    (pool / f"{SHARD}.tar").unlink()
    config = tmp_path / "run.yaml"
    config.write_text(f"pool: {pool}\nrun_dir: {tmp_path}/run\n")
    bad = CliRunner().invoke(app, ["verify", str(config)])
    assert bad.exit_code == 1


def test_nothing_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to verify"):
        lines(tmp_path)


def test_tables_of_more_than_one_read_ahead(tmp_path: Path) -> None:
    write_pool(tmp_path, 70, 2)  # more shards than are in flight
    for number in range(70):
        (tmp_path / f"shards/{number:05d}_stats.json").write_text('{"count": 7}')
    found = lines(tmp_path)
    assert len(found) == 70
    assert np.unique(found).size == 70


def test_a_pool_that_is_not_downloaded_yet_is_healthy(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "metadata", tmp_path / "metadata")
    assert lines(tmp_path) == []
    journal(Store(tmp_path), "ingest/metadata", [f"metadata/0000{n}.parquet" for n in range(3)])
    assert lines(tmp_path) == []


def test_a_pool_indexed_from_tars_is_healthy_with_repeats_and_odd_names(tmp_path: Path) -> None:
    """What DataComp's resharder writes: keys `<uid>-<copy>`, uid in the json, no tables, any numbers."""
    write_pool(tmp_path / "pool", 1, 6)
    with (tmp_path / "pool/shards/00000.tar").open("rb") as file:
        samples = list(read_shard(file))
    for number in (3, 8):
        with (tmp_path / f"{number:08d}.tar").open("wb") as file:
            writer = ShardWriter(file)
            for copy in range(2):
                for sample in samples:
                    writer.write(f"{sample.uid}-{copy + number}", sample.members)
            writer.write(f"a b+{number}", {"jpg": samples[0].members["jpg"], "txt": b"%d" % number})
            writer.write("__meta__/about", {"txt": b"x"})
            writer.close()
    assert len(list(index(Store(tmp_path)))) == 2
    assert lines(tmp_path) == []
    table = pq.read_table(tmp_path / "00000003.parquet")
    other = pa.array(["f" * 32, *table["uid"].to_pylist()[1:]])
    pq.write_table(table.set_column(table.column_names.index("uid"), "uid", other), tmp_path / "00000003.parquet")
    (found,) = lines(tmp_path)
    assert "in its json" in found
