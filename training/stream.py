"""Batches in the order of training, decoded in threads ahead of the step; pictures that do not decode are skipped."""

import logging
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data import Pairs
from training.distributed import union
from training.order import Order
from training.system import Batch, System
from winnow.errors import UserError

__all__ = ["Skipped", "batches"]

_MARGIN = 1.25  # pictures are held at this multiple of the network's input: crops of 0.9 of the area stay sharp
_AHEAD = 3  # batches decoded or in decoding while the network works
_ENOUGH = 1000  # samples, or the set where it is smaller, before a share of bad ones means anything
_NAMED = 10  # bad pictures that are logged one by one

_log = logging.getLogger(__name__)

_Pick = tuple[int, int]  # a position of the order, and the sample there
_Loaded = tuple[NDArray[np.uint8], Tensor] | str  # crop and tokens, or why there are none


@dataclass
class Skipped:
    """What training left out so far; with the samples seen it says where in the order a run is."""

    reasons: dict[int, str] = field(default_factory=dict)
    """Sample -> why its picture does not decode. It is not tried again."""
    positions: int = 0
    """Positions of the order that gave no sample, so that the next one to read is samples_seen + positions."""

    def state_dict(self) -> dict[str, Any]:
        """Return it as plain values, for a checkpoint."""
        return {"reasons": dict(self.reasons), "positions": self.positions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what a checkpoint holds."""
        self.reasons, self.positions = dict(state["reasons"]), int(state["positions"])


@contextmanager
def batches(
    pairs: Pairs,
    order: Order,
    system: System,
    *,
    start: int,
    stop: int,
    batch_size: int,
    skipped: Skipped | None = None,
    max_bad_share: float = 0.5,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 2,
) -> Iterator[Iterator[Batch]]:
    """Give an iterator over this rank's share of each global batch between two numbers of samples seen.

    What is trained is the order without the samples whose pictures do not decode: each is skipped where it stands, and
    the next of the order moves up. That depends on the samples alone, so it is the same for any number of ranks and
    threads, and after a restart. Each sample's augmentation is drawn from (seed, position in the order).

    Args:
        pairs: the samples.
        order: in which order they are seen.
        system: how a sample becomes tensors.
        start: samples seen before the first batch.
        stop: samples seen after the last one.
        batch_size: samples of a global batch.
        skipped: what was skipped before `start`; it is brought up to date with each batch that is handed out.
        max_bad_share: largest share of bad pictures among the samples tried, of a thousand or the set at the least.
        rank: this process.
        world_size: processes that train together.
        num_workers: threads.

    Raises:
        UserError: while iterating: more pictures are bad than `max_bad_share` allows.
    """
    skipped = Skipped() if skipped is None else skipped
    share = batch_size // world_size
    mine = slice(rank * share, (rank + 1) * share)
    shorter = round(system.image_size * _MARGIN)

    def load(position: int, index: int) -> _Loaded:
        picture, caption = pairs.read(index, shorter)
        if picture is None:
            return pairs.undecoded[index]
        crop = system.crop(picture, np.random.default_rng([order.seed, position, 1]))
        return crop, system.tokenize(caption)

    def stream() -> Generator[Batch, None, None]:
        seen = start
        planned: deque[list[_Pick]] = deque()  # global batches, of which this rank decodes its part
        loading: dict[int, Future[_Loaded]] = {}  # by position
        while seen < stop:
            while len(planned) < _AHEAD and seen + len(planned) * batch_size < stop:
                begin = planned[-1][-1][0] + 1 if planned else seen + skipped.positions
                planned.append(_plan(order, begin, batch_size, skipped.reasons))
                for position, index in planned[-1][mine]:
                    if position not in loading:
                        loading[position] = pool.submit(load, position, index)
            batch = planned[0]
            loaded = [loading[position].result() for position, _ in batch[mine]]
            bad = {
                index: found for (_, index), found in zip(batch[mine], loaded, strict=True) if isinstance(found, str)
            }
            if bad := union(bad):
                _note(bad, pairs, skipped.reasons, batch[-1][0] + 1, max_bad_share, speak=rank == 0)
                planned.clear()  # whatever comes later moves up; what is decoded already is kept by position
                continue
            planned.popleft()
            seen += batch_size
            skipped.positions = batch[-1][0] + 1 - seen
            for position in [position for position in loading if position <= batch[-1][0]]:
                del loading[position]
            crops, tokens = zip(*(found for found in loaded if not isinstance(found, str)), strict=True)
            yield Batch(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous(), torch.stack(tokens))

    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="decode")
    try:
        with closing(stream()) as iterator:
            yield iterator
    finally:
        pool.shutdown(cancel_futures=True)


def _plan(order: Order, begin: int, count: int, without: Mapping[int, str]) -> list[_Pick]:
    """Return the next `count` positions from `begin` on whose samples are not among those to leave out."""
    picks: list[_Pick] = []
    while len(picks) < count:
        missing = count - len(picks)
        samples = order.indices(begin, missing).tolist()
        picks += [(begin + step, index) for step, index in enumerate(samples) if index not in without]
        begin += missing
    return picks


def _note(
    bad: Mapping[int, str], pairs: Pairs, reasons: dict[int, str], tried: int, max_bad_share: float, *, speak: bool
) -> None:
    """Add bad pictures to those known, name the first ones, and stop where there are too many.

    Raises:
        UserError: their share is above `max_bad_share`.
    """
    for index in sorted(bad):
        reasons[index] = bad[index]
        if speak and len(reasons) <= _NAMED:
            more = "; further ones are only counted" if len(reasons) == _NAMED else ""
            _log.warning("sample %s is skipped: %s%s", pairs.name(index), bad[index], more)
    tried = max(min(tried, len(pairs)), min(_ENOUGH, len(pairs)))
    if len(reasons) > max_bad_share * tried:
        first = next(iter(reasons))
        raise UserError(
            f"{len(reasons)} of {tried} pictures do not decode, a share above `max_bad_share` {max_bad_share:g}; the "
            f"first is {pairs.name(first)}: {reasons[first]}. Look at the shards, or raise `max_bad_share`"
        )
