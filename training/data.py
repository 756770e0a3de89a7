"""Pairs from WebDataset shards by random access, decoded in threads ahead of the training step."""

import hashlib
import logging
import re
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.crops import shrink
from training.order import Order
from training.system import Batch, System
from winnow.errors import UserError
from winnow.images import ImageError, decode_image
from winnow.shards import IMAGE_SUFFIXES, Sample, locate_samples, reasons

__all__ = ["Pairs", "batches"]

_COPY = re.compile(r"^([0-9a-f]{32})-\d+$")
_MARGIN = 1.25  # pictures are held at this multiple of the network's input: crops of 0.9 of the area stay sharp
_ATTEMPTS = 16  # neighbours tried in place of a picture that does not decode
_AHEAD = 3  # batches decoded or in decoding while the network works

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
        self.locations = [location for path in paths for location in _locate(path)]
        if not self.locations:
            raise UserError(
                f"no sample with both a picture ({', '.join(IMAGE_SUFFIXES)}) and a caption (txt, or json) in "
                f"{len(paths)} shards, the first is {paths[0]!r}"
            )
        self._pictures: dict[int, NDArray[np.uint8]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.locations)

    def identities(self) -> NDArray[np.uint64]:
        """Return (n,) numbers, equal for copies of one sample: keys "<uid>-<j>" differ in j alone."""
        # the shard's number, not its path: a run that is moved keeps its order
        shards = {path: number for number, path in enumerate(dict.fromkeys(place.path for place in self.locations))}
        return np.array([_identity(place.key, shards[place.path]) for place in self.locations], dtype=np.uint64)

    def read(self, index: int, shorter: int) -> tuple[NDArray[np.uint8], str]:
        """Return a pair: the picture reduced to a shorter side of at most `shorter`, and its caption.

        A picture that does not decode is logged, and the next pair of the index that does takes its place: training
        must go on, and must go on in the same way after a restart.
        """
        for candidate in range(index, index + min(_ATTEMPTS, len(self))):
            location = self.locations[candidate % len(self)]
            try:
                return self._picture(candidate % len(self), shorter), _caption(location)
            except ImageError as error:
                _log.warning("sample %s of %s is passed over: %s", location.key, location.path, error)
        raise UserError(f"{_ATTEMPTS} samples in a row do not decode, the first is sample {index} of the shards")

    def _picture(self, index: int, shorter: int) -> NDArray[np.uint8]:
        """Decode a picture, or take it from the cache."""
        if self._pictures is not None and index in self._pictures:
            return self._pictures[index]
        location = self.locations[index]
        picture = shrink(decode_image(_slice(location.path, location.image), min_side=shorter), shorter)
        if self._pictures is not None:
            self._pictures[index] = picture
        return picture


@contextmanager
def batches(
    pairs: Pairs,
    order: Order,
    system: System,
    *,
    start: int,
    stop: int,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 2,
) -> Iterator[Iterator[Batch]]:
    """Give an iterator over this rank's share of each global batch from position `start` of the order to `stop`.

    Each sample's augmentation is drawn from (seed, position), hence the same for any number of ranks or threads.
    """
    share = batch_size // world_size
    shorter = round(system.image_size * _MARGIN)

    def load(index: int, position: int) -> tuple[NDArray[np.uint8], Tensor]:
        picture, caption = pairs.read(index, shorter)
        crop = system.crop(picture, np.random.default_rng([order.seed, position, 1]))
        return crop, system.tokenize(caption)

    def stream() -> Generator[Batch, None, None]:
        waiting: deque[list[Future[tuple[NDArray[np.uint8], Tensor]]]] = deque()
        begin = start
        while begin < stop or waiting:
            while begin < stop and len(waiting) < _AHEAD:
                first = begin + rank * share
                picks = enumerate(order.indices(first, share).tolist(), start=first)
                waiting.append([pool.submit(load, index, position) for position, index in picks])
                begin += batch_size
            images, tokens = zip(*(future.result() for future in waiting.popleft()), strict=True)
            stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
            yield Batch(stacked, torch.stack(tokens))

    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="decode")
    try:
        with closing(stream()) as iterator:
            yield iterator
    finally:
        pool.shutdown(cancel_futures=True)


def _locate(path: str) -> Iterator[_Location]:
    """Yield the pairs of one shard, and log what is none; a caption may be in the sidecar alone."""
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
