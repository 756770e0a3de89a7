"""Near-duplicates: groups of pictures that look alike, by perceptual hash or by embedding, of which one is to be kept.

Two pictures are neighbours when few bits of their hashes differ, or when the cosine of their embeddings is high; all
that is reached from neighbour to neighbour is one group. The search is exact: hashes that differ in at most r bits
agree in one of r + 1 parts (Norouzi et al. 2012, multi-index hashing), so only those that share a part are compared.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from filters.models.compute import cpu_threads, resolve_device
from filters.pool_scorer import PoolScorer, PoolScores
from filters.strategy import Pool
from filters.subset import hash_uids
from filters.vectors.embeddings import gather, uid_order, unit
from winnow.errors import UserError

__all__ = ["NearDuplicates"]

ROWS = 1024
EDGES_AT_ONCE = 10_000_000
"""Pairs of neighbours that are kept before they are merged into groups."""

Edges = Iterator[tuple[NDArray[Any], NDArray[Any]]]


class NearDuplicates(PoolScorer):
    """Columns `first` (bool: the sample of its group with the lowest hash of uid) and `size` (int32, of the group)."""

    by: str = "phash.hash"
    """Column of 64-bit hashes, or of embeddings."""
    max_distance: int = Field(default=4, ge=0, le=20)
    """Bits that may differ, of hashes. Each more costs twice to four times as much."""
    min_similarity: float = Field(default=0.95, gt=0, le=1)
    """Cosine that must be reached, of embeddings. Every pair is compared: n^2 d multiplications."""
    seed: int = 0
    """Of the hash of uid."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"; for embeddings."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    def needs(self) -> tuple[str, ...]:
        """Read the hashes or embeddings."""
        return (self.by,)

    def score(self, pool: Pool) -> PoolScores:
        """Group the pool."""
        first = next(iter(pool.chunks([self.by])))[self.by]
        if first.ndim == 2:
            group = self._by_embedding(pool)
        elif first.dtype == np.uint64:
            group = self._by_hash(pool)
        else:
            raise UserError(f"near_duplicates: {self.by!r} is a column of {first.dtype}; give hashes or embeddings")
        uids, _ = uid_order(pool)
        size = np.bincount(group)
        order = np.lexsort((uids["f1"], uids["f0"], hash_uids(uids, self.seed), group))
        leads = np.zeros(len(uids), bool)
        leads[order[np.cumsum(size) - size]] = True
        return PoolScores(columns={"first": leads, "size": size[group].astype(np.int32)})

    def _by_hash(self, pool: Pool) -> NDArray[Any]:
        """Return the (n,) group of each sample; some 64 bytes a sample are in memory."""
        hashes, inverse = np.unique(np.concatenate([c[self.by] for c in pool.chunks([self.by])]), return_inverse=True)
        group: NDArray[Any] = merged(len(hashes), self._hash_neighbors(hashes))[inverse]
        return group

    def _hash_neighbors(self, hashes: NDArray[np.uint64]) -> Edges:
        """Yield the pairs of distinct hashes that are neighbours, some of them several times.

        In the order of one part, hashes that agree in it are runs; every hash is compared with the next one of its run,
        then with the one after that, until no run is so long.
        """
        bounds = np.linspace(0, 64, self.max_distance + 2).astype(np.uint64)
        for low, high in pairwise(bounds.tolist()) if self.max_distance else ():
            part = (hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
            order = np.argsort(part, kind="stable")
            ends, ordered = np.searchsorted(part[order], part[order], side="right"), hashes[order]
            rows, offset = np.arange(len(hashes)), 1
            while len(rows := rows[rows + offset < ends[rows]]):
                near = rows[np.bitwise_count(ordered[rows] ^ ordered[rows + offset]) <= self.max_distance]
                yield order[near], order[near + offset]
                offset += 1

    def _by_embedding(self, pool: Pool) -> NDArray[Any]:
        """Return the (n,) group of each sample."""
        gathered = gather(pool, self.by)
        return gathered.in_pool_order(merged(len(gathered.uids), self._embedding_neighbors(gathered.vectors[self.by])))

    def _embedding_neighbors(self, vectors: NDArray[Any]) -> Edges:
        """Yield the pairs of rows that are neighbours, the lower row first."""
        torch.set_num_threads(cpu_threads(self.threads))
        device = resolve_device(self.device)
        for start in range(0, len(vectors), ROWS):
            x = torch.from_numpy(unit(vectors[start : start + ROWS])).to(device)
            for other in range(start, len(vectors), 16 * ROWS):
                y = torch.from_numpy(unit(vectors[other : other + 16 * ROWS])).to(device)
                found = torch.nonzero(x @ y.T >= self.min_similarity).cpu().numpy()
                yield start + found[:, 0], other + found[:, 1]


def merged(num: int, edges: Edges) -> NDArray[Any]:
    """Return the (num,) number of each node's connected component."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    group = np.arange(num)
    pending: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def merge() -> None:
        nonlocal group, pending
        if pending:
            a, b = (np.concatenate(ends) for ends in zip(*pending, strict=True))
            size = int(group.max()) + 1
            graph = coo_matrix((np.ones(len(a), bool), (group[a], group[b])), shape=(size, size))
            group, pending = connected_components(graph, directed=False)[1][group], []

    waiting = 0
    for a, b in edges:
        differ = group[a] != group[b]
        pending.append((a[differ], b[differ]))
        waiting += int(differ.sum())
        if waiting > EDGES_AT_ONCE:
            merge()
            waiting = 0
    merge()
    return group
