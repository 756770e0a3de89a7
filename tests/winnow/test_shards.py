import io
import tarfile
from itertools import zip_longest

import pytest
import webdataset
from hypothesis import example, given, settings
from hypothesis import strategies as st
from webdataset.handlers import ignore_and_continue
from webdataset.tariterators import group_by_keys, tar_file_iterator

from winnow.errors import UserError
from winnow.shards import Sample, ShardWriter, index_shard, locate_samples, read_shard, sample_bytes

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


def test_what_belongs_to_no_sample_is_left_out_and_named():
    others = [
        "../up.txt",
        "/etc/passwd.txt",
        "a/../b.txt",
        "README",
        "__index__",
        "__meta__/x.txt",
        ".hidden",
        "a\tb.txt",
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a.txt", "a.TXT", *others, "semi;colon.txt"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    left_out: list[tuple[str, str]] = []
    samples = list(read_shard(io.BytesIO(buffer.getvalue()), left_out=left_out))
    assert [(sample.key, sample.members) for sample in samples] == [("a", {"txt": b"x"}), ("semi;colon", {"txt": b"x"})]
    assert sorted(name for name, _ in left_out) == sorted([*others, "a.txt", "link.txt"])
    why = dict(left_out)
    assert why["../up.txt"] == why["/etc/passwd.txt"] == why["a/../b.txt"] == "the name leads out of the folder"
    assert why["README"] == why[".hidden"] == "no key before a dot in the name"
    assert why["link.txt"] == "a link"
    assert why["a.txt"] == "a second member of that name in the sample"
    located, again = locate_samples(io.BytesIO(buffer.getvalue()))
    assert [sample.key for sample in located] == ["a", "semi;colon"]
    assert again == left_out


ODD = st.text("aB1 .,:@+-_()[]{}/\\äß日é\udce4\udcff😀", min_size=1, max_size=30)
ENDINGS = st.sampled_from([".jpg", ".JPG", ".txt", ".json", ".seg.png", "", ".", "/"])


METADATA = {"__key__", "__url__", "__local_path__"}  # webdataset's own entries beside a sample's members


def names_of_samples(keys: list[str], odd: list[str]) -> list[str]:
    """Return names of samples with picture, text and sidecar, and others between them."""
    names = [f"{key}.{suffix}" for key in keys for suffix in ("jpg", "txt", "json")]
    return [name for pair in zip_longest(names, odd) for name in pair if name]


@settings(deadline=None)
@given(
    st.lists(ODD, max_size=6),
    st.lists(st.tuples(ODD, ENDINGS).map("".join), max_size=6),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@example(["1.__"], [], tarfile.GNU_FORMAT)  # members whose suffix begins as webdataset's own entries do
def test_samples_with_odd_names_are_those_that_webdataset_reads(keys, odd, kind):
    """Spaces, brackets, other letters, bytes that are no UTF-8, dotted folders, members that are not neighbours."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for number, name in enumerate(names_of_samples(keys, odd)):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"%04d" % number))
    files = tar_file_iterator(io.BytesIO(buffer.getvalue()))
    # a second member of one name is an error there, or, with its `ignore_and_continue`, the first one counts
    files = (
        {"__url__": "", **file, "fname": file["fname"].removeprefix("./")}
        for file in files
        if not leads_out(file["fname"])
    )
    theirs = [
        (printable(sample["__key__"]), {k: v for k, v in sample.items() if k not in METADATA})
        for sample in group_by_keys(files, handler=ignore_and_continue)
    ]
    ours = [(s.key, {printable(k): v for k, v in s.members.items()}) for s in read_shard(io.BytesIO(buffer.getvalue()))]
    assert ours == [(key, {printable(k): v for k, v in members.items()}) for key, members in theirs]


def leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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
