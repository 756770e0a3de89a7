"""An index of a tar that reads headers only.

Archives from elsewhere are read without trust: regular members only, and what belongs to no sample is named. Where
programs differ in what an archive holds (sparse files, links with content, two names for one member), it is refused.

Most archives are plain, as webdataset and ShardWriter make them. Their headers are found and checked many at a time, by
their magic, at the price of a look into every block; whatever is not plain is walked from header to header.
"""

import io
import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import IO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from winnow.errors import UserError
from winnow.names import split_names
from winnow.tar_header import (
    BLOCK,
    CHECKSUM,
    CHECKSUM_DIGITS,
    PADDING,
    SIZE,
    SIZE_DIGITS,
    USTAR,
    checksums,
    octal_fields,
)

__all__ = [
    "AGAIN",
    "Entry",
    "Members",
    "Sliceable",
    "index_members",
    "sliceable",
]

AGAIN = "a second member of that name in the sample"
"""Why a member is left out that programs differ about."""
_HEADERS_AT_ONCE = 4096
_BLOCKS_AT_ONCE = 2**17  # 64 MiB
_RECORD_BYTES = 2**20
"""Longest record about a member, which is a name or some times: more is read into memory by nobody."""
_MAGIC_AT = 257
_NUMBER = re.compile(rb"[ ]*([0-7]*)[ ]*(?:\0.*)?", re.DOTALL)
_LINE = re.compile(rb"([0-9]{1,7}) ([^=]+)=")
_REGULAR, _LINKS, _RECORDS, _BARE = b"0\x007", b"12", b"xXgLK", b"123456"
"""Kinds of members: files, links, records about the member after them, what has no content (links, folders ...)."""


class Entry(NamedTuple):
    """Where one member lies in a tar."""

    key: str
    suffix: str
    offset: int
    """Byte offset of the content."""
    size: int


class Members(NamedTuple):
    """Where the members of a tar's samples lie, in order; arrays and lists of length n.

    A sample is a run of members with one key, as for webdataset; no two of them have one suffix.
    """

    keys: list[str]
    suffixes: list[str]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    left_out: list[tuple[str, str]]
    """Name of each file and link that is no member of a sample, and why."""

    def first(self) -> list[int]:
        """Return the places at which samples begin."""
        pairs = zip(self.keys, [None, *self.keys], strict=False)
        return [place for place, (key, before) in enumerate(pairs) if key != before]

    def entries(self) -> list[Entry]:
        """Return them one by one."""
        rows = zip(self.keys, self.suffixes, self.offset.tolist(), self.size.tolist(), strict=True)
        return list(map(partial(tuple.__new__, Entry), rows))


def index_members(archive: "Sliceable", name: str = "shard") -> Members:
    """Return the regular members of a tar in order, reading headers only.

    Args:
        archive: what `sliceable` gives.
        name: what to call it in an error.

    Raises:
        UserError: the archive is cut short or damaged.
    """
    found: list[Members] = []
    position = 0 if isinstance(archive, _Seeking) else _scan(archive, found)
    _walk(archive, position, name, found)
    if len(found) == 1:
        return _once(found[0])
    return _once(
        Members(
            [key for part in found for key in part.keys],
            [suffix for part in found for suffix in part.suffixes],
            np.concatenate([part.offset for part in found]),
            np.concatenate([part.size for part in found]),
            [each for part in found for each in part.left_out],
        )
    )


def _once(members: Members) -> Members:
    """Return members of which no two in a sample have one suffix: the first stays, which webdataset takes too."""
    if len(set(zip(members.keys, members.suffixes, strict=True))) == len(members.keys):
        return members
    stay, seen, left_out = list[int](), set[str](), list(members.left_out)
    for place, (key, suffix) in enumerate(zip(members.keys, members.suffixes, strict=True)):
        if place and key != members.keys[place - 1]:
            seen = set()
        if suffix in seen:
            left_out.append((f"{key}.{suffix}", AGAIN))
        else:
            stay.append(place)
        seen.add(suffix)
    keys, suffixes = ([values[place] for place in stay] for values in (members.keys, members.suffixes))
    return Members(keys, suffixes, members.offset[stay], members.size[stay], left_out)


def _scan(archive: "Sliceable", found: list[Members]) -> int:
    """Index an archive as far as it is plain, some blocks at a time.

    Args:
        archive: bytes in memory or mapped into it.
        found: the members are appended here.

    Returns:
        the position of the first header that is for `_walk`: not plain, damaged, or the end of the archive.
    """
    if (total := len(archive) // BLOCK) == 0:
        return 0
    blocks = np.frombuffer(archive, np.uint8, total * BLOCK).reshape(-1, BLOCK)  # type: ignore[call-overload]
    expected = 0  # block of the next header
    while expected < total:
        start = expected
        window = blocks[start : start + _BLOCKS_AT_ONCE]
        (places,) = np.nonzero(window[:, _MAGIC_AT] == ord("u"))
        headers = window[places]
        size, good = octal_fields(headers[:, SIZE], SIZE_DIGITS)
        told, checked = octal_fields(headers[:, CHECKSUM], CHECKSUM_DIGITS)
        good &= checked & (told == checksums(headers)) & (headers[:, 257:262] == USTAR).all(axis=1)
        good &= (headers[:, 135] == 0) | (headers[:, 135] == ord(" "))  # a twelfth digit would be one too
        if not good.all():  # content may look like the beginning of a magic
            places, headers, size = places[good], headers[good], size[good]
        after = places + 1 + -(-size // BLOCK)
        # each header lies where the one before it ends, up to the first that does not or reaches beyond the archive
        fits = (places == np.concatenate([[0], after[:-1]])) & (start + after <= total)
        fits &= _plain(archive, headers[:, 156], (start + places) * BLOCK, size)
        stop = len(fits) if fits.all() else int(np.argmin(fits))
        while stop and headers[stop - 1, 156] == ord("x"):  # `_walk` is to see that no member comes after it
            stop -= 1
        if not stop:
            break
        expected = start + int(after[stop - 1])
        found.append(_members(headers[:stop], (start + places[:stop]) * BLOCK, size[:stop], {}))
    return expected * BLOCK


def _plain(
    archive: "Sliceable", kinds: NDArray[np.uint8], positions: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return (n,) which headers leave the members after them their names and sizes: times and the like do no harm."""
    bare = (kinds >= _BARE[0]) & (kinds <= _BARE[-1])
    plain: NDArray[np.bool_] = (kinds == ord("0")) | (bare & (sizes == 0))
    for row in np.flatnonzero((kinds == ord("x")) & (sizes <= _RECORD_BYTES)).tolist():
        content = int(positions[row]) + BLOCK
        fields = _pax(archive[content : content + int(sizes[row])])
        plain[row] = fields is not None and not _tells(fields)
    return plain


def _members(
    blocks: NDArray[np.uint8], positions: NDArray[np.int64], sizes: NDArray[np.int64], long_names: Mapping[int, bytes]
) -> Members:
    """Return what headers say of files.

    Args:
        blocks: (n, 512) headers.
        positions: (n,) where they lie, in bytes.
        sizes: (n,) of what follows them.
        long_names: row -> name, where a record before the header gives it.
    """
    rows = np.flatnonzero(np.isin(blocks[:, 156], list(_REGULAR + _LINKS)))
    names = np.ascontiguousarray(blocks[rows, :100]).view("S100").ravel().tolist()
    for place in np.flatnonzero(blocks[rows, 345]).tolist():
        names[place] = _with_prefix(blocks[rows[place]].tobytes())
    if long_names:
        names = [long_names.get(row, names[i]) for i, row in enumerate(rows.tolist())]
    links = np.isin(blocks[rows, 156], list(_LINKS))
    left_out = [(names[i].decode("utf-8", "backslashreplace"), "a link") for i in np.flatnonzero(links).tolist()]
    if left_out:
        names, rows = [names[i] for i in np.flatnonzero(~links).tolist()], rows[~links]
    places, keys, suffixes, others = split_names(names)
    rows = rows[places]
    return Members(keys, suffixes, positions[rows] + BLOCK, sizes[rows], left_out + others)


def _walk(archive: "Sliceable", position: int, name: str, found: list[Members]) -> None:
    """Index the rest of an archive from header to header.

    Args:
        archive: where.
        position: of the first header to look at.
        name: what to call the archive in an error.
        found: the members are appended here.
    """
    headers, end = _Headers(name), len(archive)
    try:
        while position + BLOCK <= end:
            block = archive[position : position + BLOCK]
            if block == PADDING:
                headers.end(position)
                return
            size = headers.add(position, block)
            content = position + BLOCK
            if content + size > end:
                raise UserError(f"{name}: cut short: member at byte {position} claims {size} bytes, the file has {end}")
            if block[156] in _RECORDS:
                headers.extend(block[156:157], archive[content : content + min(size, _RECORD_BYTES + 1)])
            position = content + size + (-size % BLOCK)
            if len(headers.blocks) == _HEADERS_AT_ONCE:
                found.append(headers.members())
        raise UserError(f"{name}: cut short: no end-of-archive marker in {end} bytes")
    finally:  # a damaged header is the first thing to say, whatever it led to
        found.append(headers.members())


class _Headers:
    """Headers on the way through an archive, with what PAX and GNU records say of the member that follows them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.blocks: list[bytes] = []
        self.places: list[tuple[int, int]] = []
        self.long_names: dict[int, bytes] = {}
        self.told: dict[str, bytes] = {}
        """What records have said of the next member: its path, its size."""
        self.announced = False
        """Whether the last header was a record, so that a member is to come."""

    def add(self, position: int, block: bytes) -> int:
        """Take a header and return the size of what follows it.

        Raises:
            UserError: a number is none, or programs differ in where the next member begins.
        """
        kind = block[156:157]
        size = _octal(block[124:136], self.name, position)
        self.announced = kind in _RECORDS
        if not self.announced:
            size = int(self.told.get("size", size))
            if "path" in self.told:
                self.long_names[len(self.blocks)] = self.told["path"]
            self.told = {}
        self.blocks.append(block)
        self.places.append((position, min(size, 2**62)))
        if kind == b"S":
            raise UserError(f"{self.name}: sparse file at byte {position}: write the archive without `--sparse`")
        is_folder = kind == b"\0" and block[:100].partition(b"\0")[0].endswith(b"/")
        if size and (kind in _BARE or is_folder):
            raise UserError(f"{self.name}: damaged: link, folder or device with content at byte {position}")
        return size

    def extend(self, kind: bytes, record: bytes) -> None:
        """Take a record about the next member: PAX ("x"; "X" of Solaris; "g" about all of them) or GNU ("L", "K").

        Raises:
            UserError: the record is malformed, or programs differ in what it says.
        """
        place = self.places[-1][0]
        if len(record) > _RECORD_BYTES:
            raise UserError(f"{self.name}: damaged: a header of more than {_RECORD_BYTES} bytes at byte {place}")
        found: dict[str, bytes] = {}
        if kind == b"L":
            found = {"path": record.partition(b"\0")[0]}
        elif kind != b"K":
            fields = _pax(record)
            if fields is None:
                raise UserError(f"{self.name}: damaged PAX header at byte {place}")
            found = _tells(fields)
        if found and (kind == b"g" or "sparse" in found or set(found) & set(self.told)):
            raise UserError(f"{self.name}: header at byte {place} that programs read differently; write the tar anew")
        self.told |= found

    def end(self, position: int) -> None:
        """Take the end of the archive.

        Raises:
            UserError: records announce a member that does not come.
        """
        if self.announced:
            raise UserError(
                f"{self.name}: damaged: the member is missing that the header before byte {position} is for"
            )

    def members(self) -> Members:
        """Return the regular members among the headers taken so far, and forget these.

        Raises:
            UserError: names the first header whose checksum is not the sum of its bytes.
        """
        blocks = np.frombuffer(b"".join(self.blocks), np.uint8).reshape(-1, BLOCK)
        told, good = octal_fields(blocks[:, CHECKSUM], CHECKSUM_DIGITS)
        sums = checksums(blocks)
        for row in np.flatnonzero(~good | (told != sums)).tolist():
            if sums[row] != _octal(self.blocks[row][148:156], self.name, self.places[row][0]):  # written otherwise
                raise UserError(f"{self.name}: damaged tar header at byte {self.places[row][0]}")
        places = np.array(self.places, dtype=np.int64).reshape(-1, 2)
        found = _members(blocks, places[:, 0], places[:, 1], self.long_names)
        self.blocks, self.places, self.long_names = [], [], {}
        return found


def _with_prefix(block: bytes) -> bytes:
    """Return a path that is split in two, as ustar allows; other formats keep something else there."""
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


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
def sliceable(file: IO[bytes]) -> Iterator[Sliceable]:
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


def _octal(text: bytes, name: str, position: int) -> int:
    """Read a number field of a header; large sizes are base-256 with the top bit set."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    if (number := _NUMBER.fullmatch(text)) is None:
        raise UserError(f"{name}: damaged tar header at byte {position}")
    return int(number[1] or b"0", 8)


def _pax(record: bytes) -> dict[bytes, bytes] | None:
    """Parse the "length key=value" lines of a PAX record; None where it does not consist of them."""
    fields: dict[bytes, bytes] = {}
    start = 0
    while start < len(record):
        line = _LINE.match(record, start)
        if line is None or not line.end() < (stop := start + int(line[1])) <= len(record) or record[stop - 1] != 10:
            return None
        fields[line[2]] = record[line.end() : stop - 1]
        start = stop
    return fields


def _tells(fields: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return what matters of PAX fields: "path", "size", or "sparse" for anything that is read in several ways."""
    found: dict[str, bytes] = {}
    for key, value in fields.items():
        if key == b"path":
            found["path"] = value.replace(b"\0", b"\n").rstrip(b"/")  # a name with either is left out
        elif key == b"size":
            found["size" if re.fullmatch(rb"[0-9]{1,18}", value) else "sparse"] = value
        elif key.startswith(b"GNU.sparse."):
            found["sparse"] = value
    return found
