"""Which uids of a pool were obtained: the manifest and fingerprint that belong beside every result.

Downloads of one list differ by 6 to 30 % between people and months, so two results that name the same pool may come
from different ones. The fingerprint names the set of uids that were obtained; the manifest, a subset file, is that set.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.subset import intersect, subset_of, unique
from winnow.component import digest
from winnow.pool import PoolShard, pool_shards, read_columns
from winnow.storage import Store
from winnow.uid import UID

__all__ = ["Recovery", "compare", "fingerprint", "recover", "recover_at", "state_of"]

READERS = 8
"""Tables that are read at a time."""


@dataclass(frozen=True)
class Recovery:
    """What became of the pairs of a pool."""

    uids: NDArray[np.void]
    """(n,) dtype "u8,u8", sorted, each once: what was obtained."""
    asked: int
    """Different uids that were tried."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Rows by outcome, "success" and failures by kind, most frequent first."""

    @property
    def obtained(self) -> int:
        """How many different uids were obtained."""
        return len(self.uids)

    @property
    def share(self) -> float:
        """Obtained of asked, in [0, 1]; 0 where nothing was asked."""
        return self.obtained / self.asked if self.asked else 0.0

    @property
    def fingerprint(self) -> str:
        """The name of the set of uids that were obtained."""
        return fingerprint(self.uids)

    def fields(self) -> dict[str, Any]:
        """Return what a row of results says about its pool."""
        return {
            "pool_fingerprint": self.fingerprint,
            "pool_recovered": {"obtained": self.obtained, "asked": self.asked},
        }


def recover(pool: Store) -> Recovery:
    """Read what was obtained from the shards' tables; no picture is opened; memory is about 100 bytes a row.

    Raises:
        UserError: the pool has no shards.
    """
    tried: list[NDArray[np.void]] = [np.empty(0, UID)]
    obtained: list[NDArray[np.void]] = [np.empty(0, UID)]
    statuses: Counter[str] = Counter()
    for uids, success, kinds in _shards(pool):
        tried.append(uids)
        obtained.append(uids[success])
        statuses.update(kinds)
    ordered = dict(sorted(statuses.items(), key=lambda item: (item[0] != "success", -item[1], item[0])))
    asked = len(unique(subset_of(np.concatenate(tried))))
    return Recovery(unique(subset_of(np.concatenate(obtained))), asked, ordered)


def fingerprint(uids: NDArray[np.void]) -> str:
    """Return the first 16 hexadecimal characters of the sha256 over the bytes of a sorted "u8,u8" array."""
    return hashlib.sha256(np.ascontiguousarray(uids).tobytes()).hexdigest()[:16]


def compare(mine: NDArray[np.void], other: NDArray[np.void]) -> dict[str, float]:
    """Return how alike two manifests are; repeats count once.

    Returns:
        `shared`, `only_here`, `only_there` (numbers of uids), `share_here`, `share_there` (the shared ones' share of
        each side) and `jaccard`; two empty sides are alike.
    """
    mine, other = unique(mine), unique(other)
    shared = len(intersect(mine, other))
    either = len(mine) + len(other) - shared
    return {
        "shared": shared,
        "only_here": len(mine) - shared,
        "only_there": len(other) - shared,
        "share_here": shared / len(mine) if len(mine) else 1.0,
        "share_there": shared / len(other) if len(other) else 1.0,
        "jaccard": shared / either if either else 1.0,
    }


def state_of(shards: list[PoolShard]) -> str:
    """Return a hash that changes when what was obtained may have changed; reads no table."""
    return digest([shard.fingerprint for shard in shards])


@lru_cache(maxsize=2)
def recover_at(pool_url: str, state: str) -> Recovery:
    """Return `recover`, remembered by a worker while the pool's state stays the same."""
    return recover(Store(pool_url))


def _shards(pool: Store) -> Iterator[tuple[NDArray[np.void], NDArray[np.bool_], Counter[str]]]:
    """Yield each shard's uids, which of them succeeded, and its outcomes by kind."""

    def read(shard: PoolShard) -> tuple[NDArray[np.void], NDArray[np.bool_], Counter[str]]:
        table, uids = read_columns(pool, shard, ["error_message"], failed=True)
        success = pc.fill_null(pc.equal(table["status"], "success"), False).to_numpy()
        pairs = zip(table["status"].to_pylist(), table["error_message"].to_pylist(), strict=True)
        kinds = Counter(
            "success" if status == "success" else str(error or status)
            for status, error in pairs
            if status != "retried"  # its outcome is in a later shard
        )
        return uids, success, kinds

    with ThreadPoolExecutor(READERS) as readers:
        yield from readers.map(read, pool_shards(pool))
