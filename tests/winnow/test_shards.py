import io
import tarfile

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.shards import Sample, ShardWriter, index_shard, read_shard, sample_bytes

KEYS = st.text("abcXYZ0189_-", min_size=1, max_size=40)
SUFFIXES = st.sampled_from(["jpg", "png", "txt", "json", "cls"])
SAMPLES = st.lists(
    st.tuples(KEYS, st.dictionaries(SUFFIXES, st.binary(max_size=1500), min_size=1)),
    max_size=6,
    unique_by=lambda s: s[0],
)
FIXED = [
    ("000000001", {"jpg": b"\xff\xd8" * 700, "txt": "wheat, ü".encode(), "json": b'{"uid": "1"}'}),
    ("000000002", {"png": b""}),
]


def write(samples) -> bytes:
    buffer = io.BytesIO()
    writer = ShardWriter(buffer)
    for key, members in samples:
        writer.write(key, members)
    writer.close()
    return buffer.getvalue()


def read(data: bytes):
    return [(sample.key, sample.members) for sample in read_shard(io.BytesIO(data))]


@given(SAMPLES)
def test_what_is_written_is_read_by_us_and_by_tarfile(samples):
    data = write(samples)
    assert read(data) == samples
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
        assert all(member.mtime == 0 and member.uid == 0 for member in tar)
    assert members == {f"{key}.{suffix}": content for key, parts in samples for suffix, content in parts.items()}
    assert write(samples) == data


@pytest.mark.parametrize(
    ("members", "caption"),
    [
        ({"txt": b"a dog", "json": b'{"caption": "a cat"}'}, "a dog"),
        ({"txt": b"", "json": b'{"caption": "a cat"}'}, ""),
        ({"json": b'{"caption": "a cat"}'}, "a cat"),
        ({"json": b'{"caption": 7}'}, ""),
        ({"jpg": b"..."}, ""),
    ],
)
def test_a_caption_is_the_text_else_what_the_sidecar_says(members, caption):
    assert Sample("0", members).caption == caption


def test_webdataset_reads_ours_and_we_read_webdatasets(tmp_path):
    (tmp_path / "ours.tar").write_bytes(write(FIXED))
    theirs = [
        (sample["__key__"], {name: value for name, value in sample.items() if not name.startswith("__")})
        for sample in webdataset.WebDataset(str(tmp_path / "ours.tar"), shardshuffle=False, empty_check=False)
    ]
    assert theirs == FIXED
    with webdataset.TarWriter(str(tmp_path / "theirs.tar")) as writer:  # stamps a time, hence PAX headers
        for key, members in FIXED:
            writer.write({"__key__": key, **members})
    assert [(key, dict(sorted(members.items()))) for key, members in read((tmp_path / "theirs.tar").read_bytes())] == [
        (key, dict(sorted(members.items()))) for key, members in FIXED
    ]


def test_long_names_of_other_writers_are_read(tmp_path):
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
            for suffix in ("jpg", "txt"):
                member = tarfile.TarInfo(f"folder/{'k' * 150}.{suffix}")
                member.size = 3
                tar.addfile(member, io.BytesIO(b"abc"))
        assert read(buffer.getvalue()) == [(f"folder/{'k' * 150}", {"jpg": b"abc", "txt": b"abc"})]


def test_only_regular_members_with_plain_names_are_samples():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("../up.txt", "/etc/passwd.txt", "a/../b.txt", "good.txt", "semi;colon.txt"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert read(buffer.getvalue()) == [("good", {"txt": b"x"})]


@given(SAMPLES)
def test_a_shard_is_its_samples_bytes_and_an_end(samples):
    data = b"".join(sample_bytes(key, members) for key, members in samples)
    assert write(samples) == data + bytes(1024)


@given(st.data())
def test_a_shard_cut_anywhere_is_an_error_of_the_user(data):
    whole = write(FIXED)
    end = len(whole) - 1024  # the end-of-archive marker is two blocks; one of them suffices
    length = data.draw(st.integers(0, end + 511))
    with pytest.raises(UserError, match="cut short"):
        list(read_shard(io.BytesIO(whole[:length])))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flipped_bytes_are_an_error_of_the_user_or_other_samples_but_no_crash(data):
    damaged = bytearray(write(FIXED))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        entries = index_shard(io.BytesIO(bytes(damaged)))
        list(read_shard(io.BytesIO(bytes(damaged))))
    except UserError:
        return
    assert all(0 <= entry.offset <= entry.offset + entry.size <= len(damaged) for entry in entries)


@given(st.binary(max_size=3000))
def test_noise_is_an_error_of_the_user(noise):
    try:
        list(read_shard(io.BytesIO(noise)))
    except UserError:
        return
    assert noise[:512] == b"\0" * 512


def test_a_member_too_large_for_its_archive_is_named():
    whole = bytearray(write(FIXED))
    whole[124:135] = b"77777777777"
    head = whole[:148] + b" " * 8 + whole[156:512]
    whole[148:156] = b"%06o\0 " % sum(head)
    with pytest.raises(UserError, match="claims 8589934591 bytes"):
        index_shard(io.BytesIO(bytes(whole)), "00000.tar")


def test_names_that_do_not_fit_are_refused_when_written():
    with pytest.raises(ValueError, match="ustar"):
        write([("k" * 100, {"jpg": b""})])
