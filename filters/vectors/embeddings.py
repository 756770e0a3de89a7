"""Embeddings of a whole pool in the order of uids, in memory or, where they are large, in a scratch file.

Shapes: n samples, d embedding.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.models.compute import cpu_threads
from filters.strategy import Pool
from filters.subset import argsort_uids

__all__ = ["BLOCK_ROWS", "Gathered", "gather", "in_blocks", "uid_order", "unit"]

LARGEST_IN_MEMORY = 2 * 2**30
"""Bytes of one column of embeddings above which it goes to a file in the folder for temporary files."""
BLOCK_ROWS = 4096
"""Rows that are worked on together. Fixed, because the last bits of a product depend on the shape of its factors."""


@dataclass(frozen=True)
class Gathered:
    """Columns of embeddings, their rows in ascending order of uids, so that no cut or order of the pool shows."""

    uids: NDArray[np.void]
    """(n,) ascending."""
    order: NDArray[np.intp]
    """(n,) the pool's row of each of these rows."""
    vectors: dict[str, NDArray[Any]]
    """Column -> (n, d), in the type it is stored in."""

    def in_pool_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return (n,) values of these rows as values of the pool's rows."""
        out = np.empty_like(values)
        out[self.order] = values
        return out


def gather(pool: Pool, *names: str) -> Gathered:
    """Read columns of embeddings.

    Args:
        pool: at least one sample.
        names: columns whose chunks are (m, d).
    """
    uids, order = uid_order(pool)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    vectors: dict[str, NDArray[Any]] = {}
    start = 0
    for columns in pool.chunks(names):
        rows = place[start : start + columns.num_samples]
        start += columns.num_samples
        for name in names:
            values = columns[name]
            if name not in vectors:
                vectors[name] = _empty((len(uids), values.shape[1]), values.dtype)
            vectors[name][rows] = values
    return Gathered(uids[order], order, vectors)


def uid_order(pool: Pool) -> tuple[NDArray[np.void], NDArray[np.intp]]:
    """Return the (n,) uids of a pool in pool order, and the (n,) rows that sort them."""
    uids = np.concatenate([columns.uids for columns in pool.chunks(())])
    return uids, argsort_uids(uids)


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return (n, d) rows as float32 of length 1: what float16 on disk has rounded away. Zero rows stay zero."""
    out: NDArray[np.float32] = vectors.astype(np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", out, out))
    out /= np.where(length > 0, length, 1)[:, None]
    return out


def in_blocks(num_rows: int, work: Callable[[slice], None], threads: int = 0) -> None:
    """Call `work` with the rows of one block after the other, on several threads.

    The blocks are the same for any number of threads, and so is what comes out, provided that `work` uses one thread.
    """
    with ThreadPoolExecutor(cpu_threads(threads)) as workers:
        for _ in workers.map(work, _blocks(num_rows)):
            pass  # an exception of a block is raised here


def _blocks(num_rows: int) -> Iterator[slice]:
    """Yield slices that cover the rows."""
    for start in range(0, num_rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, num_rows))


def _empty(shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array to fill, backed by a file that has no name where it is large."""
    if int(np.prod(shape)) * dtype.itemsize <= LARGEST_IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="winnow-") as file:  # the mapping outlives the descriptor
        return np.memmap(file, dtype, mode="w+", shape=tuple(shape))
