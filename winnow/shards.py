"""The shard contract: a tar of samples in fixed order, byte-reproducible, and an index to copy without decoding.

A sample is a run of members that share a key: `000000012.jpg`, `.txt`, `.json`. Archives from elsewhere are read
without trust: regular members only, keys of letters, digits, `_`, `-` and `.`, no member ever becomes a file on disk.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from winnow.errors import UserError

__all__ = ["IMAGE_SUFFIXES", "Entry", "Sample", "ShardWriter", "index_shard", "read_shard"]

BLOCK = 512
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


@dataclass(frozen=True)
class Entry:
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

    def write(self, key: str, members: dict[str, bytes]) -> None:
        """Append one sample.

        Args:
            key: letters, digits, `_` and `-`.
            members: content by suffix ("jpg", "txt", "json"), written in this order.
        """
        for suffix, data in members.items():
            self.file.write(_header(f"{key}.{suffix}", len(data)))
            self.file.write(data)
            self.file.write(b"\0" * (-len(data) % BLOCK))
        self.num_samples += 1

    def close(self) -> None:
        """Write the end-of-archive marker; the file itself stays open."""
        self.file.write(b"\0" * (2 * BLOCK))


def _header(name: str, size: int) -> bytes:
    """Return a ustar header block (POSIX 1003.1-1988) of a regular file, mode 0444, owner 0, time 0."""
    encoded = name.encode()
    if len(encoded) > 100 or size >= 8**11:
        raise ValueError(f"member {name!r} of {size} bytes does not fit a ustar header")
    head = b"%-100b0000444\x000000000\x000000000\x00%011o\x0000000000000\x00" % (encoded.ljust(100, b"\0"), size)
    head += b"        0".ljust(109, b"\0") + b"ustar\x0000"
    head = head.ljust(BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def index_shard(file: IO[bytes], name: str = "shard") -> list[Entry]:
    """Return the regular members of a tar in order, reading headers only.

    Args:
        file: a seekable binary file.
        name: what to call it in an error.

    Raises:
        UserError: the archive is cut short or damaged.
    """
    file.seek(0, io.SEEK_END)
    end = file.tell()
    entries: list[Entry] = []
    position, long_name, size_override = 0, "", None
    while position + BLOCK <= end:
        file.seek(position)
        block = file.read(BLOCK)
        if block == b"\0" * BLOCK:
            return entries
        if sum(block[:148]) + sum(block[156:]) + 8 * 32 != _octal(block[148:156], name, position):
            raise UserError(f"{name}: damaged tar header at byte {position}")
        size, kind = _octal(block[124:136], name, position), block[156:157]
        if kind in b"0\0" and size_override is not None:
            size = size_override
        if size < 0 or position + BLOCK + size > end:
            raise UserError(f"{name}: cut short: member at byte {position} claims {size} bytes, the file has {end}")
        if kind in b"xgL":  # a PAX or GNU record speaks of the member that follows it
            record = file.read(size)
            if kind == b"L":
                long_name = record.rstrip(b"\0").decode("utf-8", "replace")
            elif kind == b"x":
                fields = _pax(record)
                long_name = fields.get("path", "")
                size_override = int(fields["size"]) if fields.get("size", "").isdigit() else None
        else:
            prefix = block[345:500].rstrip(b"\0") if block[257:262] == b"ustar" and block[263:265] == b"00" else b""
            raw = b"/".join(part for part in (prefix, block[:100].split(b"\0")[0]) if part)
            match = _NAME.match(long_name or raw.decode("utf-8", "replace"))
            if kind in b"0\0" and match:
                entries.append(Entry(match[1], match[2].lower(), position + BLOCK, size))
            long_name, size_override = "", None
        position += BLOCK + size + (-size % BLOCK)
    raise UserError(f"{name}: cut short: no end-of-archive marker in {end} bytes")


def read_shard(file: IO[bytes], name: str = "shard") -> Iterator[Sample]:
    """Yield the samples of a tar in order, grouping consecutive members by key.

    Raises:
        UserError: the archive is cut short or damaged; raised before the first sample.
    """
    sample: Sample | None = None
    for entry in index_shard(file, name):
        if sample is None or entry.key != sample.key:
            if sample is not None:
                yield sample
            sample = Sample(entry.key)
        file.seek(entry.offset)
        sample.members[entry.suffix] = file.read(entry.size)
    if sample is not None:
        yield sample


def _octal(text: bytes, name: str, position: int) -> int:
    """Read a number field of a header; large sizes are base-256 with the top bit set."""
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
