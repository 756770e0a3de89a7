"""Tars from elsewhere get tables in which every sample is itself, and what they lack is said."""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.pools.index import Indexed, index
from pipeline.pools.recovery import recover
from pipeline.pools.samples import decoded_batches
from pipeline.pools.verify import Verification, verify
from winnow.errors import UserError
from winnow.pool import pool_shards, read_columns, read_table
from winnow.storage import Store
from winnow.uid import make_uid, to_hex


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((24, 24, 3), shade, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def indexed(folder: Path) -> list[Indexed]:
    return list(index(Store(folder)))


def uids(folder: Path) -> list[str]:
    pool = Store(folder)
    return [uid for shard in pool_shards(pool) for uid in to_hex(read_columns(pool, shard)[1])]


def test_equal_captions_are_not_duplicates(tmp_path: Path) -> None:
    members = [(f"{i}.{end}", data) for i in range(6) for end, data in (("jpg", jpeg(40 * i)), ("txt", b"a dog"))]
    write_tar(tmp_path / "00000.tar", members)
    assert indexed(tmp_path) == [Indexed("00000.parquet", 6, 6, [])]
    found = uids(tmp_path)
    assert len(set(found)) == 6
    assert recover(Store(tmp_path)).obtained == 6
    pair = jpeg(0), b"a dog"
    assert found[0] == hashlib.sha256(b"".join(b"%d\0%b" % (len(part), part) for part in pair)).hexdigest()[:32]
    (batch,) = decoded_batches(Store(tmp_path), "00000.tar", batch_size=8, threads=1, images=True)
    assert [sample.uid for sample in batch] == found  # a scorer tells samples apart as the table does


def test_the_same_pair_elsewhere_is_the_same_pair(tmp_path: Path) -> None:
    write_tar(tmp_path / "a/00000.tar", [("0.jpg", jpeg(9)), ("0.txt", b"x"), ("1.jpg", jpeg(9)), ("1.txt", b"y")])
    write_tar(tmp_path / "b/00007.tar", [("k.png", jpeg(8)), ("k.txt", b"x"), ("z.jpg", jpeg(9)), ("z.txt", b"x")])
    for name in ("a", "b"):
        indexed(tmp_path / name)
    a, b = uids(tmp_path / "a"), uids(tmp_path / "b")
    assert a[0] == b[1]
    assert len({*a, *b}) == 3


def test_uid_and_url_of_the_sidecar_come_first(tmp_path: Path) -> None:
    sidecars = [b'{"uid": "%s"}' % (b"a" * 32), b'{"url": "http://a.test/1"}', b'{"uid": 7, "url": "http://a.test/2"}']
    parts = [((f"{i}.jpg", jpeg(5)), (f"{i}.txt", b"x"), (f"{i}.json", text)) for i, text in enumerate(sidecars)]
    write_tar(tmp_path / "00000.tar", [member for sample in parts for member in sample])
    indexed(tmp_path)
    assert uids(tmp_path) == ["a" * 32, make_uid("http://a.test/1", "x"), make_uid("http://a.test/2", "x")]


def test_tars_without_pictures_or_captions_have_uids_of_their_own_and_it_is_said(tmp_path: Path) -> None:
    prints = set()
    for number in range(5):
        folder = tmp_path / str(number)
        write_tar(folder / "00000.tar", [(f"{i}.cls", b"%d" % (i + number)) for i in range(3)])
        (found,) = indexed(folder)
        assert (found.num_rows, found.num_pictures) == (3, 0)
        assert found.notes == [f"3 of 3 samples have no {what} (for example '0')" for what in ("picture", "caption")]
        assert len(set(uids(folder))) == 3
        prints.add(recover(Store(folder)).fingerprint)
    assert len(prints) == 5
    (tmp_path / "0/00000.parquet").unlink()
    said = CliRunner().invoke(app, ["index", str(tmp_path / "0")]).output
    assert "no sample has a picture" in said


def test_what_is_no_sample_and_what_stands_apart_is_counted(tmp_path: Path) -> None:
    apart = [("0.jpg", jpeg(1)), ("1.jpg", jpeg(2)), ("0.txt", b"x"), ("1.txt", b"y"), ("README", b"")]
    write_tar(tmp_path / "00000.tar", apart)
    (found,) = indexed(tmp_path)
    assert found.num_rows == 4
    assert found.notes == [
        "2 of 4 samples have no picture (for example '0')",
        "2 of 4 samples have no caption (for example '0')",
        "2 keys come again: members of one key that are no neighbours are several samples",
        "members 1 left out: no key before a dot in the name (for example 'README')",
    ]


def test_a_cut_tar_costs_its_own_samples_until_it_is_whole_again(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"{number:05d}.tar", [(f"{number}{i}.jpg", jpeg(9 * i + number)) for i in range(4)])
    whole = (tmp_path / "00001.tar").read_bytes()
    (tmp_path / "00001.tar").write_bytes(whole[:3000])
    assert [found.num_rows for found in indexed(tmp_path)] == [4, 0, 4]
    assert len(uids(tmp_path)) == 8
    shard = pool_shards(Store(tmp_path))[1]
    assert read_table(Store(tmp_path), shard).num_rows == 0
    assert any("00001.tar: cut short" in str(found) for found in verify(Store(tmp_path), Verification()))
    (again,) = indexed(tmp_path)
    assert again.notes[0].startswith("all of its samples left out: 00001.tar: cut short")
    (tmp_path / "00001.tar").write_bytes(whole)
    assert [(found.name, found.num_rows) for found in indexed(tmp_path)] == [("00001.parquet", 4)]
    assert indexed(tmp_path) == []


def test_a_table_that_tells_nothing_apart_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", [("0.jpg", jpeg(1)), ("0.txt", b"x")])
    indexed(tmp_path)
    table = pq.read_table(tmp_path / "00000.parquet").drop_columns(["uid"])
    pq.write_table(table, tmp_path / "00000.parquet")
    with pytest.raises(UserError, match="neither uid nor url"):
        uids(tmp_path)


def test_columns_of_any_kind_in_sidecars(tmp_path: Path) -> None:
    sidecars: list[Any] = [b'{"a": 1, "b": {}}', b'{"a": "x", "b": {"c": 1}}']
    members = [(f"{i}.{end}", data) for i, s in enumerate(sidecars) for end, data in (("jpg", jpeg(i)), ("json", s))]
    write_tar(tmp_path / "00000.tar", members)
    indexed(tmp_path)
    assert pq.read_table(tmp_path / "00000.parquet")["a"].to_pylist() == ["1", '"x"']
