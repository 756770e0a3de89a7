"""Tars made to mislead: whatever the headers say, we find what Python's tarfile finds, or refuse the archive."""

import io
import tarfile
from contextlib import suppress

import pytest
from hostile import Packed, bounded, damaged, fuzz, little_memory
from hypothesis import given
from hypothesis import strategies as st
from peer_names import first_of_each, key_and_suffix

from winnow.errors import UserError
from winnow.shards import index_shard, read_shard

NAMES = st.sampled_from(
    [
        *(b"a.jpg", b"a.txt", b"b/c.json", b"./d.txt", b"k" * 96 + b".txt", b"A.JPG", b"e.tar.gz", b"a.txt/", b"dir/"),
        *(b"../up.txt", b"/etc/passwd.txt", b"a/../b.txt", b"a.txt\n", b"a\nb.txt", b"a.txt\nb.txt", b"..", b"", b"a"),
        *(b"\xff\xfe.txt", "ü.txt".encode(), b"a.txt\0b", b"C:\\x.txt", b"a.txt ", b" a.txt", b"a\x7f.txt", b"-rf.txt"),
    ]
)
KINDS = st.sampled_from("0" * 16 + "\0\0123456777SKLLLxxxxxgXZNDV")
KEYS = st.sampled_from(
    [b"path"] * 5
    + [b"size"] * 5
    + [b"linkpath", b"mtime", b"atime", b"comment", b"hdrcharset", b"a", b"", b"GNU.sparse.major", b"GNU.sparse.name"]
)
SIZES = st.sampled_from([b"0", b"4", b"512", b"700", b"0004", b"-1", "²".encode(), b"1_0", b"9" * 18, b"9" * 5000])


def member(
    name: bytes,
    content: bytes = b"",
    kind: bytes = b"0",
    *,
    size: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    target: bytes = b"",
) -> bytes:
    """Return a header and its content; the size of the content unless another is claimed."""
    size = size or b"%011o\0" % len(content)
    block = bytearray(name[:100].ljust(100, b"\0") + b"0000644\0" * 3 + size + b"00000000000\0" + b" " * 8)
    block += kind + target.ljust(100, b"\0") + magic
    block = block.ljust(345, b"\0") + prefix.ljust(155, b"\0") + bytes(12)
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + content + bytes(-len(content) % 512)


def pax(key: bytes, value: bytes) -> bytes:
    """Return a line of a PAX record."""
    rest = b" " + key + b"=" + value + b"\n"
    length = next(n for n in range(len(rest), len(rest) + 9) if n == len(rest) + len(str(n)))
    return str(length).encode() + rest


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Draw the content of a PAX header: most lines well-formed, their values anything."""
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        key = draw(KEYS)
        value = draw(SIZES if key == b"size" else NAMES)
        length, _, rest = pax(key, value).partition(b" ")
        lie = draw(st.sampled_from([0] * 20 + [1, -1, 400]))
        lines.append(str(int(length) + lie).encode() + b" " + rest)
    return b"".join(lines)


@st.composite
def numbers(draw: st.DrawFn, value: int, width: int) -> bytes:
    """Spell a number of a header in one of the ways that exist, or one that does not."""
    octal = b"%0*o" % (width - 1, value)
    right = [octal + b"\0", octal[1:] + b" \0", b"%*o\0" % (width - 1, value), b"%0*o" % (width, value)]
    if draw(st.integers(0, 15)):
        return draw(st.sampled_from(right))
    spelled = [b"\x80" + value.to_bytes(width - 1, "big"), b"\xff" * width, b"0o" + octal[:-2] + b"\0"]
    spelled += [b"-" + octal[1:] + b"\0", b"\0" * width, b"\xc0" + b"\xff" * (width - 1), b"9" * width]
    return draw(st.sampled_from(spelled))[:width].ljust(width, b"\0")


@st.composite
def members(draw: st.DrawFn) -> bytes:
    """Draw a header and its content, either of which may lie."""
    kind = draw(KINDS).encode()
    name = draw(NAMES)
    if kind in b"xg":
        content = draw(records())
    elif kind in b"LK":
        content = draw(NAMES) + draw(st.sampled_from([b"\0", b"", b"\0junk"]))
    elif kind in b"123456D":
        content = draw(st.sampled_from([b""] * 12 + [b"x" * 600]))
    else:
        content = draw(st.sampled_from([b"", b"text", b"y" * 512, b"z" * 700, bytes(1024)]))
    lie = draw(st.sampled_from([0] * 60 + [1, -1, 512, 2**32]))
    size = draw(numbers(max(0, len(content) + lie), 12))
    magic = draw(st.sampled_from([b"ustar\x0000"] * 5 + [b"ustar  \0", bytes(8), b"ustar\0\0\0"]))
    prefix = (
        draw(st.sampled_from([b""] * 8 + [b"p", b"../p", b"/abs", b"p.txt\0q"])) if magic[:6] == b"ustar\0" else b""
    )
    target = draw(st.sampled_from([b"", b"/etc/passwd", b"../x"]))
    return member(name, content, kind, size=size, magic=magic, prefix=prefix, target=target)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Draw an archive, ended as it should be or not."""
    parts = draw(st.lists(members(), min_size=1, max_size=6))
    return b"".join(parts) + draw(st.sampled_from([bytes(1024)] * 5 + [bytes(512), b"", b"x" * 512 + bytes(1024)]))


@st.composite
def repaired(draw: st.DrawFn) -> bytes:
    """Draw a damaged archive whose checksums are right again."""
    data = bytearray(draw(damaged(archives(), most=2)))
    for start in range(0, len(data) - 511, 512):
        block = data[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(data)


CASES = (archives() | archives() | repaired() | damaged(archives())).map(Packed)


def indexed(file: io.BufferedIOBase) -> object:
    try:
        return index_shard(file, "x.tar")
    except UserError as error:
        return str(error)


def blanked(data: bytes) -> bytes:
    """Return an archive without modes, owners, times, devices: tarfile stops where they are no numbers, we do not."""
    out = bytearray(data)
    for start in range(0, len(data) - 511, 512):
        block = out[start : start + 512]
        told, block[148:156] = bytes(block[148:156]), b" " * 8
        with suppress(tarfile.HeaderError):
            if tarfile.nti(told) == sum(block):
                block[100:124], block[136:148], block[329:345] = bytes(24), bytes(12), bytes(16)
                block[148:156] = b"%06o\0 " % sum(block)
                out[start : start + 512] = block
    return bytes(out)


def as_tarfile(data: bytes) -> object:
    """Return (key, suffix, offset, size) of what tarfile finds and webdataset takes for members, or the error.

    None where tarfile fails over the encoding of something that says nothing about members.
    """
    found = []
    try:
        with tarfile.open(fileobj=io.BytesIO(blanked(data)), mode="r:") as file:
            for member in file:
                name = key_and_suffix(member.name)
                if member.isreg() and name:
                    found.append((*name, member.offset_data, member.size))
    except UnicodeDecodeError:
        return None
    except (tarfile.TarError, ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return first_of_each(found)


def check(data: bytes) -> None:
    entries = indexed(io.BytesIO(data))
    assert entries == indexed(io.BufferedReader(io.BytesIO(data))), "many headers at a time or one by one"
    if isinstance(entries, str):
        assert entries.startswith("x.tar: ")
        with pytest.raises(UserError):
            list(read_shard(io.BytesIO(data)))
        return
    theirs = as_tarfile(data)
    assert theirs is None or entries == theirs
    samples = list(read_shard(io.BytesIO(data)))
    assert all(".." not in sample.key and not sample.key.startswith("/") for sample in samples)


@bounded(350)
@given(CASES)
def test_a_hostile_tar_has_the_members_that_tarfile_finds_or_is_refused(data):
    check(data)


HIDDEN = member(b"hidden.txt", b"x")
REFUSED = {
    "a size beyond 64 bits": member(b"a.txt", size=b"\x80" + b"\xff" * 11),
    "a negative size": member(b"a.txt", size=b"\xff" * 12),
    "a size with a sign": member(b"a.txt", size=b"-0000000005\0"),
    "a size that is a digit and none": member(b"", pax(b"size", "²".encode()), b"x") + member(b"a.txt"),
    "a size of 5000 digits": member(b"", pax(b"size", b"9" * 5000), b"x") + member(b"a.txt"),
    "a link with members in it": member(b"a.txt", HIDDEN, b"2", target=b"/etc/passwd"),
    "a folder with members in it": member(b"a/", HIDDEN, b"5"),
    "an old folder with members in it": member(b"a/", HIDDEN, b"\0"),
    "a sparse file with more headers": member(b"a.txt", b"x" * 512, b"S") + HIDDEN,
    "a sparse file as PAX has it": member(b"", pax(b"GNU.sparse.major", b"1"), b"x") + member(b"a.txt", b"1\n0\n9\n"),
    "a name for all": member(b"", pax(b"path", b"b.txt"), b"g") + member(b"a.txt"),
    "two names for one": member(b"", b"b.txt\0", b"L") + member(b"", pax(b"path", b"c.txt"), b"x") + member(b"a.txt"),
    "a name for nothing": member(b"a.txt") + member(b"", pax(b"path", b"c.txt"), b"x"),
    "a line shorter than it says": member(b"", b"99 path=b.txt\n", b"x") + member(b"a.txt"),
    "a record of 2 MiB": member(b"", b"x" * 2**21, b"L") + member(b"a.txt"),
}
READ = {
    "a name of GNU before times of PAX": (
        member(b"", b"b.txt\0", b"L") + member(b"", pax(b"mtime", b"1.5"), b"x") + member(b"a.txt", b"x"),
        ["b"],
    ),
    "a size of PAX is that of the next member alone": (
        member(b"", pax(b"size", b"0"), b"x") + member(b"a/", kind=b"5") + member(b"b.txt", b"xyz"),
        ["b"],
    ),
    "a name ending in a newline": (member(b"a.txt\n", b"x") + member(b"b.txt"), ["b"]),
    "a name cut by NUL": (member(b"", pax(b"path", b"a.txt\0b"), b"x") + member(b"c.txt") + member(b"b.txt"), ["b"]),
    "a folder cut by NUL": (member(b"b.txt", prefix=b"a.txt\0q"), ["a.txt/b"]),
    "a contiguous file": (member(b"b.txt", b"x", b"7"), ["b"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_programs_read_differently_is_refused(what):
    data = REFUSED[what] + bytes(1024)
    assert isinstance(indexed(io.BytesIO(data)), str)
    check(data)


@pytest.mark.parametrize("what", READ)
def test_unusual_members_are_read_as_tarfile_reads_them(what):
    data, keys = READ[what]
    found = indexed(io.BytesIO(data + bytes(1024)))
    assert [entry.key for entry in found] == keys
    check(data + bytes(1024))


@pytest.mark.timeout(20)
def test_many_lines_in_one_header_take_no_time():
    record = pax(b"a", b"b") * (2**20 // 6)
    data = b"".join(member(b"", record, b"x") + member(b"%d.txt" % number) for number in range(3)) + bytes(1024)
    assert len(indexed(io.BytesIO(data))) == 3
    assert len(indexed(io.BufferedReader(io.BytesIO(data)))) == 3


@pytest.mark.slow
def test_hostile_tars_for_long():
    with little_memory(300):
        fuzz(check, CASES)
