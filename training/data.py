"""Pairs from WebDataset shards by random access."""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.crops import shrink
from winnow.errors import UserError
from winnow.images import ImageError, decode_image
from winnow.shards import IMAGE_SUFFIXES, Sample, locate_samples, reasons

__all__ = ["Pairs"]

_COPY = re.compile(r"^([0-9a-f]{32})-\d+$")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Location:
    """Where a pair lies."""

    path: str
    key: str
    image: tuple[int, int]
    text: tuple[int, int]
    text_in: str
    """Suffix of the member with the caption: txt, or json where there is none."""


class Pairs:
    """The pairs of some shards, in shard order; an index of byte offsets, so that any order of samples can be read."""

    def __init__(self, paths: Sequence[str], *, cache: bool = False) -> None:
        """Index the shards, reading tar headers only.

        Args:
            paths: tar files on local disks.
            cache: keep decoded pictures; the values returned are the same either way.

        Raises:
            UserError: a shard is missing or damaged, or no sample has both picture and caption.
        """
        self.left_out: dict[str, tuple[int, str]] = {}
        """Why samples of the shards are no pairs -> how many, and one of them."""
        self.locations = [location for path in paths for location in _locate(path, self.left_out)]
        if not self.locations:
            raise UserError(
                f"no sample with both a picture ({', '.join(IMAGE_SUFFIXES)}) and a caption (txt, or json) in "
                f"{len(paths)} shards, the first is {paths[0]!r}"
            )
        self.undecoded: dict[int, str] = {}
        """Sample -> why its picture does not decode, of those that were read."""
        self._pictures: dict[int, NDArray[np.uint8]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.locations)

    def identities(self) -> NDArray[np.uint64]:
        """Return (n,) numbers, equal for copies of one sample: keys "<uid>-<j>" differ in j alone."""
        # the shard's number, not its path: a run that is moved keeps its order
        shards = {path: number for number, path in enumerate(dict.fromkeys(place.path for place in self.locations))}
        return np.array([_identity(place.key, shards[place.path]) for place in self.locations], dtype=np.uint64)

    def digest(self) -> str:
        """Return a hash that tells these pairs from others wherever the shards lie.

        It covers the key, place and size of every pair in the order of the shards, and all bytes of 256 of them: a
        look at every byte would take minutes for each terabyte at every start.
        """
        found = hashlib.sha256()
        for place in self.locations:
            found.update(f"{place.key}\0{place.image}{place.text}{place.text_in}\n".encode())
        for index in np.unique(np.linspace(0, len(self) - 1, 256).astype(int)).tolist():
            place = self.locations[index]
            found.update(_slice(place.path, place.image) + _slice(place.path, place.text))
        return found.hexdigest()

    def name(self, index: int) -> str:
        """Return how a person finds a sample: its key and its shard, without the folder, which may be moved."""
        return f"{self.locations[index].key!r} of {Path(self.locations[index].path).name}"

    def read(self, index: int, shorter: int) -> tuple[NDArray[np.uint8] | None, str]:
        """Return a pair: the picture reduced to a shorter side of at most `shorter`, and its caption.

        The picture is None where it does not decode; `undecoded` says why.
        """
        location = self.locations[index]
        try:
            return self._picture(index, shorter), _caption(location)
        except ImageError as error:
            self.undecoded[index] = str(error)
            return None, _caption(location)

    def _picture(self, index: int, shorter: int) -> NDArray[np.uint8]:
        """Decode a picture, or take it from the cache."""
        if self._pictures is not None and index in self._pictures:
            return self._pictures[index]
        location = self.locations[index]
        picture = shrink(decode_image(_slice(location.path, location.image), min_side=shorter), shorter)
        if self._pictures is not None:
            self._pictures[index] = picture
        return picture


def _locate(path: str, counts: dict[str, tuple[int, str]]) -> Iterator[_Location]:
    """Yield the pairs of one shard, log and count what is none; a caption may be in the sidecar alone."""
    if not Path(path).is_file():
        raise UserError(f"no shard at {path!r}; training reads tar files on local disks")
    with open(path, "rb") as file:
        samples, left_out = locate_samples(file, path)
    for sample in samples:
        image, text = sample.image, sample.members.get("txt") or sample.members.get("json")
        if image is None:
            left_out.append((sample.key, "no picture"))
            continue
        if text is not None:
            place = _Location(path, sample.key, (image.offset, image.size), (text.offset, text.size), text.suffix)
            if text.suffix == "txt" or _caption(place):
                yield place
                continue
        left_out.append((sample.key, "no caption"))
    for key, reason in left_out:
        number, example = counts.get(reason, (0, f"{key!r} of {Path(path).name}"))
        counts[reason] = number + 1, example
    for line in reasons(left_out):
        _log.warning("%s: %s", path, line)


def _caption(location: _Location) -> str:
    """Read the caption of a pair, as every other reader of samples does."""
    return Sample(location.key, {location.text_in: _slice(location.path, location.text)}).caption


def _identity(key: str, shard: int) -> int:
    """Return 64 bits that copies of a sample share; keys that hold no uid are unique within their shard only."""
    match = _COPY.match(key)
    name = match[1] if match else f"{shard}/{key}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def _slice(path: str, span: tuple[int, int]) -> bytes:
    """Read (offset, size) of a file."""
    with open(path, "rb") as file:
        file.seek(span[0])
        return file.read(span[1])
