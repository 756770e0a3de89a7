"""The shard contract: a tar of samples in fixed order, byte-reproducible, and an index to copy without decoding.

A sample is a run of members that share a key: `000000012.jpg`, `.txt`, `.json`. Archives from elsewhere are read
without trust: regular members only, keys of letters, digits, `_`, `-` and `.`, no member ever becomes a file on disk.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import IO, Any

from winnow.tar import BLOCK, PADDING, Entry, header, index_members, sliceable

__all__ = [
    "IMAGE_SUFFIXES",
    "Entry",
    "Sample",
    "ShardWriter",
    "index_shard",
    "read_shard",
    "sample_bytes",
]

_SIDECAR_BYTES, _SIDECAR_DEPTH = 10 * 2**20, 64
"""What a sidecar may have. img2dataset's are flat and of a few kilobytes; JSON takes up to twenty times its size."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|\0")
"""What text must hold to become half a surrogate pair; zeros are in UTF-16 and UTF-32, which JSON may be too."""

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")


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
        """The text of the pair: its .txt, else what its sidecar says, "" where the sample has none."""
        if "txt" in self.members:
            return self.members["txt"].decode("utf-8", "replace")
        caption = self.meta.get("caption")
        return caption if isinstance(caption, str) else ""

    @property
    def meta(self) -> dict[str, Any]:
        """The sample's JSON sidecar, {} where it has none, or it is no JSON object or one beyond all measure.

        Half a surrogate pair, which no UTF-8 file can hold, becomes U+FFFD.
        """
        text = self.members.get("json", b"{}")
        if len(text) > _SIDECAR_BYTES:
            return {}
        try:
            data = json.loads(text)
            if _HALF.search(text) or text.count(b"[") + text.count(b"{") > _SIDECAR_DEPTH:
                data = _plain(data, _SIDECAR_DEPTH)
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}


def _plain(value: Any, depth: int) -> Any:
    """Return what JSON made, without halves of surrogate pairs.

    Raises:
        ValueError: it is nested deeper than `depth`.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list | dict) and not depth:
        raise ValueError("nested too deep")
    if isinstance(value, list):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_plain(name, 0): _plain(item, depth - 1) for name, item in value.items()}
    return value


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
        parts += [header(f"{key}.{suffix}".encode(), len(data)), data, PADDING[: -len(data) % BLOCK]]
    return b"".join(parts)


def index_shard(file: IO[bytes], name: str = "shard") -> list[Entry]:
    """Return the regular members of a tar in order, reading headers only.

    Args:
        file: a seekable binary file.
        name: what to call it in an error.

    Raises:
        UserError: the archive is cut short or damaged.
    """
    with sliceable(file) as archive:
        return index_members(archive, name).entries()


def read_shard(file: IO[bytes], name: str = "shard") -> Iterator[Sample]:
    """Yield the samples of a tar in order, grouping consecutive members by key.

    Raises:
        UserError: the archive is cut short or damaged; raised before the first sample.
    """
    with sliceable(file) as archive:
        members = index_members(archive, name)
        rows = zip(members.keys, members.suffixes, members.offset.tolist(), members.size.tolist(), strict=True)
        for key, group in groupby(rows, key=itemgetter(0)):
            yield Sample(key, {suffix: archive[offset : offset + size] for _, suffix, offset, size in group})
