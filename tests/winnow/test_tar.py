"""Archives read many headers at a time are those read header by header, and headers made at once those made singly."""

import io
import tarfile

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_names import first_of_each, key_and_suffix

from winnow import tar, tar_header
from winnow.errors import UserError
from winnow.shards import ShardWriter, index_shard

NAMES = [
    "0001.jpg",
    "0001.txt",
    "./0002.JPG",
    "0002.seg.png",
    "a/b-c.txt",
    "semi;colon.txt",
    "../up.txt",
    "new\nline.txt",
]
MEMBERS = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=1200)), max_size=8)
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


def archive(members, kind: int, mtime: float = 0) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), mtime
            file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def at_once(data: bytes):
    return outcome(io.BytesIO(data))


def one_by_one(data: bytes):
    return outcome(io.BufferedReader(io.BytesIO(data)))  # no file of this machine: it is not mapped


def outcome(file):
    try:
        return index_shard(file, "x.tar")
    except UserError as error:
        return str(error)


@settings(deadline=None)
@given(MEMBERS, FORMATS, st.sampled_from([0, 1.5]))
def test_both_ways_find_the_members_that_tarfile_finds(members, kind, mtime):
    data = archive(members, kind, mtime)
    found = at_once(data)
    assert found == one_by_one(data)
    good = [(*parts, content) for name, content in members if (parts := key_and_suffix(name))]
    ours = [(entry.key, entry.suffix, data[entry.offset : entry.offset + entry.size]) for entry in found]
    assert ours == first_of_each(good)


@settings(max_examples=300, deadline=None)
@given(MEMBERS, FORMATS, st.data())
def test_both_ways_say_the_same_of_a_damaged_archive(members, kind, data):
    damaged = bytearray(archive(members, kind, 1.5)[: data.draw(st.integers(512, 6000))])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert at_once(bytes(damaged)) == one_by_one(bytes(damaged))


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_a_long_name_amid_plain_ones_is_read(kind):
    long = f"{'f' * 90}/{'k' * 60}.txt"
    data = archive([("a.txt", b"1"), (long, b"22"), ("b.txt", b"333")], kind)
    found = at_once(data)
    assert [(f"{entry.key}.{entry.suffix}", entry.size) for entry in found] == [("a.txt", 1), (long, 2), ("b.txt", 3)]
    assert found == one_by_one(data)


def test_a_tar_within_a_tar_is_content():
    inner = archive([("inner.txt", b"x" * 600)] * 3, tarfile.USTAR_FORMAT)
    data = archive([("a.tar", inner), ("a.txt", b"y")], tarfile.USTAR_FORMAT)
    assert [(entry.key, entry.suffix) for entry in at_once(data)] == [("a", "tar"), ("a", "txt")]


def test_members_larger_than_what_is_looked_at_at_once(monkeypatch):
    monkeypatch.setattr(tar, "_BLOCKS_AT_ONCE", 7)
    members = [(f"{index:04d}.jpg", bytes([index]) * (700 * index)) for index in range(20)]
    data = archive(members, tarfile.PAX_FORMAT, 1.5)
    assert [entry.size for entry in at_once(data)] == [len(content) for _, content in members]
    assert at_once(data) == one_by_one(data)


def test_webdatasets_shards_are_plain(tmp_path, monkeypatch):
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        for index in range(5):
            writer.write({"__key__": f"{index:03d}", "txt": "text", "jpg": bytes(1000)})
    walked = []
    walk = tar._walk
    monkeypatch.setattr(
        tar, "_walk", lambda archive, position, *rest: (walked.append(position), walk(archive, position, *rest))
    )
    with (tmp_path / "x.tar").open("rb") as file:
        assert len(index_shard(file)) == 10
    assert walked[0] > 5 * 2 * 1024  # only what comes after the members is left to it


@given(st.lists(st.tuples(st.text("abcXYZ0189_-.", min_size=1, max_size=100), st.integers(0, 8**11 - 1)), max_size=6))
def test_headers_made_at_once_are_those_made_singly_and_tarfiles(members):
    names, sizes = [name.encode() for name, _ in members], np.array([size for _, size in members], np.int64)
    blocks = tar_header.header_blocks(names, sizes)
    assert [block.tobytes() for block in blocks] == [
        tar_header.header(*each) for each in zip(names, sizes.tolist(), strict=True)
    ]
    for block, (name, size) in zip(blocks, members, strict=True):
        told = tarfile.TarInfo.frombuf(block.tobytes(), "utf-8", "strict")
        assert (told.name, told.size) == (name, size)


def test_what_does_not_fit_a_header_is_refused():
    for name, size in ((b"k" * 101, 1), (b"k", 8**11)):
        with pytest.raises(ValueError, match="does not fit"):
            tar_header.header_blocks([name], np.array([size]))


def test_an_index_of_no_members():
    buffer = io.BytesIO()
    ShardWriter(buffer).close()
    assert at_once(buffer.getvalue()) == one_by_one(buffer.getvalue()) == []
    assert "cut short" in at_once(b"")
