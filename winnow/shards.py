"""The shard contract: a tar of samples in fixed order, byte-reproducible, and an index to copy without decoding.

A sample is a run of members that share a key, `000000012.jpg`, `.txt`, `.json`, as for webdataset: members of one key
that are no neighbours are several samples. Archives from elsewhere are read without trust: regular members only, no
member ever becomes a file on disk, and what belongs to no sample can be named.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import IO, Any, NamedTuple, TypeVar

from winnow.tar import Entry, Members, Sliceable, index_members, sliceable
from winnow.tar_header import BLOCK, PADDING, header
from winnow.uid import content_uid, identify, own_uid

__all__ = [
    "IMAGE_SUFFIXES",
    "Entry",
    "Located",
    "Sample",
    "ShardWriter",
    "index_shard",
    "locate_samples",
    "read_shard",
    "reasons",
    "sample_bytes",
]

Content = TypeVar("Content")

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
        return _picture(self.members)

    @property
    def caption(self) -> str:
        """The text of the pair: its .txt, else what its sidecar says, "" where the sample has none."""
        if "txt" in self.members:
            return self.members["txt"].decode("utf-8", "replace")
        caption = self.meta.get("caption")
        return caption if isinstance(caption, str) else ""

    @property
    def uid(self) -> str:
        """What the sidecar says; else made from its url and the caption; else from what the sample is.

        That is picture and caption, or, without a picture, key and content: equal captions are not one sample.
        """
        meta, caption = self.meta, self.caption
        if meta.get("url") is not None or own_uid(meta.get("uid")):
            return identify(meta.get("uid"), meta.get("url"), caption)
        if self.image is not None:
            return content_uid(self.image, caption.encode())
        members = ((suffix.encode(), content) for suffix, content in self.members.items())
        return content_uid(self.key.encode(), *(part for member in members for part in member))

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


class Located(NamedTuple):
    """One sample of a shard and where its members lie, by suffix."""

    key: str
    members: dict[str, Entry]

    @property
    def image(self) -> Entry | None:
        """The encoded picture, None where the sample has none."""
        return _picture(self.members)


def _picture(members: Mapping[str, Content]) -> Content | None:
    """Return the member that is the picture."""
    return next((members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members), None)


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


def locate_samples(file: IO[bytes], name: str = "shard") -> tuple[list[Located], list[tuple[str, str]]]:
    """Return the samples of a tar in order, reading headers only, and its other members, each with the reason.

    Args:
        file: a seekable binary file.
        name: what to call it in an error.

    Raises:
        UserError: the archive is cut short or damaged.
    """
    with sliceable(file) as archive:
        members = index_members(archive, name)
    entries = members.entries()
    runs = pairwise([*members.first(), len(entries)])
    located = [Located(entries[i].key, {entry.suffix: entry for entry in entries[i:j]}) for i, j in runs]
    return located, members.left_out


def read_shard(
    file: IO[bytes], name: str = "shard", *, left_out: list[tuple[str, str]] | None = None
) -> Iterator[Sample]:
    """Yield the samples of a tar in order.

    Args:
        file: a seekable binary file.
        name: what to call it in an error.
        left_out: the names of members that belong to no sample are appended here, each with the reason.

    Raises:
        UserError: the archive is cut short or damaged; raised before the first sample.
    """
    with sliceable(file) as archive:
        members = index_members(archive, name)
        if left_out is not None:
            left_out += members.left_out
        yield from _samples(archive, members)


def _samples(archive: Sliceable, members: Members) -> Iterator[Sample]:
    """Yield samples with the content of their members."""
    parts = zip(members.suffixes, members.offset.tolist(), (members.offset + members.size).tolist(), strict=True)
    for start, stop in pairwise([*members.first(), len(members.keys)]):
        run = islice(parts, stop - start)
        yield Sample(members.keys[start], {suffix: archive[begin:end] for suffix, begin, end in run})


def reasons(left_out: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each reason that something was left out: how many, why, and the first of them.

    Args:
        left_out: name or key, and reason.
    """
    found: dict[str, list[str]] = {}
    for name, why in left_out:
        found.setdefault(why, []).append(name)
    return [f"{len(names)} left out: {why} (for example {names[0]!r})" for why, names in found.items()]
