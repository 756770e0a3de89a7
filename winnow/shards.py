"""The shard contract: a tar of samples in fixed order, byte-reproducible, and an index to copy without decoding.

A sample is a run of members that share a key: `000000012.jpg`, `.txt`, `.json`. Archives from elsewhere are read
without trust: regular members only, keys of letters, digits, `_`, `-` and `.`, no member ever becomes a file on disk.
"""

import io
import json
import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import IO, Any, NamedTuple, Protocol

import numpy as np

from winnow.errors import UserError

__all__ = [
    "IMAGE_SUFFIXES",
    "Entry",
    "Sample",
    "ShardWriter",
    "index_shard",
    "read_shard",
    "sample_bytes",
    "split_members",
]

BLOCK = 512
_HEADERS_AT_ONCE = 4096
IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
_NAME = re.compile(r"^(?:\./)?([A-Za-z0-9_\-]+(?:/[A-Za-z0-9_\-]+)*)\.([A-Za-z0-9_.]+)$")


@dataclass
class Sample:
    """One sample of a shard: its key and the bytes of each member by suffix."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)

    @property
    def image(self) -> bytes | None:
        """The encoded picture, None where the sample has none."""
        return next((self.members[suffix] for suffix in IMAGE_SUFFIXES if suffix in self.members), None)

    @property
    def caption(self) -> str:
        """The text of the pair, "" where the sample has none."""
        return self.members.get("txt", b"").decode("utf-8", "replace")

    @property
    def meta(self) -> dict[str, Any]:
        """The sample's JSON sidecar, {} where it has none or it is no JSON object."""
        try:
            data = json.loads(self.members.get("json", b"{}"))
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}


class Entry(NamedTuple):
    """Where one member lies in a tar."""

    key: str
    suffix: str
    offset: int
    """Byte offset of the content."""
    size: int


class ShardWriter:
    """Write samples as a ustar archive whose bytes depend on nothing but the samples: no times, owners or PAX headers.

    webdataset's own writer stamps a fractional mtime, hence a PAX header a member: 3 KiB a sample and other bytes
    on every run.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.num_samples = 0

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append one sample.

        Args:
            key: letters, digits, `_` and `-`.
            members: content by suffix ("jpg", "txt", "json"), written in this order.
        """
        self.file.write(sample_bytes(key, members))
        self.num_samples += 1

    def close(self) -> None:
        """Write the end-of-archive marker; the file itself stays open."""
        self.file.write(b"\0" * (2 * BLOCK))


def sample_bytes(key: str, members: Mapping[str, bytes]) -> bytes:
    """Return the part of an archive that holds one sample: a header block and the padded content of each member."""
    parts = []
    for suffix, data in members.items():
        parts += [_header(f"{key}.{suffix}".encode(), len(data)), data, _PADDING[: -len(data) % BLOCK]]
    return b"".join(parts)


def _header(name: bytes, size: int) -> bytes:
    """Return a ustar header block (POSIX 1003.1-1988) of a regular file, mode 0444, owner 0, time 0."""
    if len(name) > 100 or size >= 8**11:
        raise ValueError(f"member {name.decode()!r} of {size} bytes does not fit a ustar header")
    length = b"%011o" % size
    # all but name, size and checksum is constant, and so is its part of the checksum, the sum of all bytes
    checksum = b"%06o\0 " % (_CONSTANT_SUM + sum(name) + sum(length))
    return b"%b%b%b%b%b%b" % (name, _PADDING[: 100 - len(name)], _OWNER, length, _TIME + checksum, _REST)


_PADDING = bytes(BLOCK)
_OWNER, _TIME = b"0000444\x000000000\x000000000\x00", b"\x0000000000000\x00"
_REST = b"0".ljust(101, b"\0") + b"ustar\x0000" + bytes(247)
_CONSTANT_SUM = sum(_OWNER) + sum(_TIME) + sum(b" " * 8) + sum(_REST)


def index_shard(file: IO[bytes], name: str = "shard") -> list[Entry]:
    """Return the regular members of a tar in order, reading headers only.

    Args:
        file: a seekable binary file.
        name: what to call it in an error.

    Raises:
        UserError: the archive is cut short or damaged.
    """
    with _sliceable(file) as archive:
        return _index(archive, name)


def split_members(span: bytes, name: str = "shard") -> dict[str, bytes]:
    """Return content by suffix of the members in a part of an archive: a sample found with `index_shard`.

    Checksums were verified then; what is plain is taken apart with less ceremony.
    """
    members: dict[str, bytes] = {}
    position = 0
    while position < len(span):
        block = span[position : position + BLOCK]
        if block[156] not in b"0\0" or block[345]:
            return {suffix: span[at : at + size] for _, suffix, at, size in _index(span + 2 * _PADDING, name)}
        size, content = _octal(block[124:136], name, position), position + BLOCK
        if match := _NAME.match(block[:100].partition(b"\0")[0].decode("utf-8", "replace")):
            members[match[2].lower()] = span[content : content + size]
        position = content + size + (-size % BLOCK)
    return members


def _index(archive: "Sliceable", name: str) -> list[Entry]:
    """Index an archive: walk from header to header, and look into them many at a time."""
    entries: list[Entry] = []
    headers = _Headers(name)
    end, position = len(archive), 0
    try:
        while position + BLOCK <= end:
            block = archive[position : position + BLOCK]
            if block == _PADDING:
                return entries
            size = headers.add(position, block)
            content = position + BLOCK
            if size < 0 or content + size > end:
                raise UserError(f"{name}: cut short: member at byte {position} claims {size} bytes, the file has {end}")
            if block[156] in b"xgL":
                headers.extend(block[156:157], archive[content : content + size])
            position = content + size + (-size % BLOCK)
            if len(headers.blocks) == _HEADERS_AT_ONCE:
                entries += headers.entries()
        raise UserError(f"{name}: cut short: no end-of-archive marker in {end} bytes")
    finally:  # a damaged header is the first thing to say, whatever it led to
        entries += headers.entries()


class _Headers:
    """Headers on the way through an archive, with what PAX and GNU records say of the member that follows them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.blocks: list[bytes] = []
        self.places: list[tuple[int, int]] = []
        self.long_names: dict[int, str] = {}
        self.size: int | None = None

    def add(self, position: int, block: bytes) -> int:
        """Take a header and return the size of what follows it."""
        size = _octal(block[124:136], self.name, position)
        if self.size is not None and block[156] in b"0\0":
            size, self.size = self.size, None
        self.blocks.append(block)
        self.places.append((position, size))
        return size

    def extend(self, kind: bytes, record: bytes) -> None:
        """Take a record about the next member, of the kind "x" or "g" (PAX) or "L" (GNU)."""
        if kind == b"L":
            self.long_names[len(self.blocks)] = record.rstrip(b"\0").decode("utf-8", "replace")
        elif kind == b"x":
            fields = _pax(record)
            if "path" in fields:
                self.long_names[len(self.blocks)] = fields["path"]
            self.size = int(fields["size"]) if fields.get("size", "").isdigit() else None

    def entries(self) -> list[Entry]:
        """Return the regular members among the headers taken so far, and forget these.

        Raises:
            UserError: names the first header whose checksum is not the sum of its bytes, its own counted as spaces.
        """
        if not self.blocks:
            return []
        fields = np.frombuffer(b"".join(self.blocks), np.uint8).reshape(-1, BLOCK)
        told = fields[:, 148:154].astype(np.int64) - ord("0")
        sums = fields.sum(axis=1, dtype=np.uint32) - fields[:, 148:156].sum(axis=1, dtype=np.uint32) + 8 * ord(" ")
        for row in np.flatnonzero((told < 0).any(1) | (told > 7).any(1) | (told @ _OCTAL_DIGITS != sums)).tolist():
            if sums[row] != _octal(self.blocks[row][148:156], self.name, self.places[row][0]):  # written otherwise
                raise UserError(f"{self.name}: damaged tar header at byte {self.places[row][0]}")
        names = np.ascontiguousarray(fields[:, :100]).view("S100").ravel().tolist()
        prefixed, found, last = fields[:, 345].tolist(), [], ""
        for row in np.flatnonzero(np.isin(fields[:, 156], (0, ord("0")))).tolist():
            if row in self.long_names:
                path = self.long_names[row]
            else:
                raw = _with_prefix(self.blocks[row]) if prefixed[row] else names[row].partition(b"\0")[0]
                path = raw.decode("utf-8", "replace")
            key, _, suffix = path.partition(".")
            if key != last or suffix not in _USUAL:  # members of a sample are neighbours: their key is checked once
                if (match := _NAME.match(path)) is None:
                    continue
                key, suffix = match[1], match[2].lower()
                last = key
            position, size = self.places[row]
            found.append(Entry(key, suffix, position + BLOCK, size))
        pending = self.long_names.get(len(self.blocks))
        self.blocks, self.places = [], []
        self.long_names = {} if pending is None else {0: pending}
        return found


_USUAL = frozenset(("txt", "json", "cls", *IMAGE_SUFFIXES))
_OCTAL_DIGITS = 8 ** np.arange(5, -1, -1)


def _with_prefix(block: bytes) -> bytes:
    """Return a path that is split in two, as ustar allows; other formats keep something else there."""
    name = block[:100].split(b"\0")[0]
    if block[257:262] == b"ustar" and block[263:265] == b"00":
        return block[345:500].rstrip(b"\0") + b"/" + name
    return name


class Sliceable(Protocol):
    """Bytes somewhere, of which one asks for parts."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...


class _Seeking:
    """A remote file as a sliceable one."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.size = file, file.seek(0, io.SEEK_END)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        self.file.seek(part.start)
        return self.file.read(part.stop - part.start)


@contextmanager
def _sliceable(file: IO[bytes]) -> Iterator[Sliceable]:
    """Give an open file as something to take slices from: mapped into memory where it is a local one."""
    if isinstance(file, io.BytesIO):
        yield file.getvalue()
        return
    try:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, AttributeError):  # no descriptor, or an empty file
        yield _Seeking(file)
        return
    with mapped:
        yield mapped


def read_shard(file: IO[bytes], name: str = "shard") -> Iterator[Sample]:
    """Yield the samples of a tar in order, grouping consecutive members by key.

    Raises:
        UserError: the archive is cut short or damaged; raised before the first sample.
    """
    with _sliceable(file) as archive:
        for key, entries in groupby(_index(archive, name), key=itemgetter(0)):
            yield Sample(key, {suffix: archive[offset : offset + size] for _, suffix, offset, size in entries})


def _octal(text: bytes, name: str, position: int) -> int:
    """Read a number field of a header; large sizes are base-256 with the top bit set."""
    try:
        return int(text.rstrip(b"\0 "), 8)
    except ValueError:
        pass
    if text[:1] and text[0] & 0x80:
        return int.from_bytes(text[1:], "big")
    try:
        return int(text.split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise UserError(f"{name}: damaged tar header at byte {position}") from None


def _pax(record: bytes) -> dict[str, str]:
    """Parse the "length key=value" lines of a PAX record, ignoring what is malformed."""
    fields: dict[str, str] = {}
    while record:
        length = record.partition(b" ")[0]
        if not length.isdigit() or not 0 < int(length) <= len(record):
            break
        key, _, value = record[len(length) + 1 : int(length) - 1].partition(b"=")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        record = record[int(length) :]
    return fields
