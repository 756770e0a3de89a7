"""k-means over the embeddings of a pool, for the pool scorers that need clusters. faiss finds the nearest centroids.

The loop is Lloyd's and our own because faiss's depends on the number of threads: it gives whole matrices to a BLAS
whose last bits do. Here each block of rows is assigned by one thread, several at a time, so the centroids are the same
on any number of them; that is no slower.

Shapes: n samples, k clusters, d embedding.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from filters.pool_scorer import PoolScorer
from filters.subset import draw
from filters.vectors.embeddings import Gathered, gather, in_blocks, unit
from filters.vectors.target_set import read_vectors, vectors_identity
from winnow.errors import UserError, require

__all__ = ["Clustered", "kmeans", "nearest"]

SPLIT = 1 / 1024
"""How far the halves of a cluster that is split are moved apart, as in faiss."""


class Clustered(PoolScorer):
    """Base of the pool scorers that put every sample into its nearest of k clusters; a cluster is a centroid."""

    embedding: str = "clip.image_embedding"
    """Column of embeddings; they are scaled to length 1 first."""
    num_clusters: int = Field(default=100, ge=1)
    """k."""
    niter: int = Field(default=20, ge=1)
    """Iterations of k-means."""
    seed: int = 0
    """Of the first centroids and of the samples that k-means sees."""
    spherical: bool = False
    """Scale the centroids to length 1 after every iteration: clusters by cosine."""
    sample_ratio: float = Field(default=1.0, gt=0, le=1)
    """Share of the samples, drawn by hash of uid, that k-means sees; all are assigned."""
    max_points_per_centroid: int = Field(default=10_000_000, ge=1)
    """k-means sees at most k times as many samples."""
    centroids: str = ""
    """Path of given centroids (.npy, .npz, .pt, see `filters.vectors.target_set`) instead of k-means over this pool."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core. The result does not depend on it."""

    @classmethod
    def tiny(cls) -> Self:
        """Return an instance for pools of a few samples."""
        return cls(num_clusters=2)

    def needs(self) -> tuple[str, ...]:
        """Read the embeddings."""
        return (self.embedding,)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of given centroids."""
        return {"centroids": vectors_identity(self.centroids)} if self.centroids else {}

    def clusters(self, pool: Any) -> "Clusters":
        """Gather the embeddings of a pool, find or read the centroids, and assign every sample.

        Raises:
            UserError: fewer samples than clusters, or centroids of another size.
        """
        gathered = gather(pool, self.embedding)
        vectors = gathered.vectors[self.embedding]
        centroids = self._given(vectors.shape[1]) if self.centroids else self._fit(gathered.uids, vectors)
        ids, products = nearest(
            len(vectors), lambda rows: unit(vectors[rows]), centroids, inner_product=True, threads=self.threads
        )
        return Clusters(gathered, vectors, centroids, ids, products)

    def _given(self, width: int) -> NDArray[np.float32]:
        centroids = read_vectors(self.centroids)
        if centroids.shape[1] != width:
            raise UserError(
                f"the centroids in {self.centroids!r} are of {centroids.shape[1]} numbers, {self.embedding!r} is of "
                f"{width}: give centroids of the same model's embeddings"
            )
        return unit(centroids) if self.spherical else centroids

    def _fit(self, uids: NDArray[np.void], vectors: NDArray[Any]) -> NDArray[np.float32]:
        num = min(round(self.sample_ratio * len(uids)), self.num_clusters * self.max_points_per_centroid)
        if num < self.num_clusters:
            raise UserError(
                f"`num_clusters` is {self.num_clusters:,}, but k-means would see {num:,} samples only; set it to "
                f"{max(num // 100, 1):,} for about 100 samples in a cluster"
            )
        seen = vectors if num == len(uids) else vectors[draw(uids, num, self.seed)]
        return kmeans(
            unit(seen), self.num_clusters, self.niter, seed=self.seed, spherical=self.spherical, threads=self.threads
        )


class Clusters:
    """The samples of a pool in clusters; rows in the order of uids."""

    def __init__(
        self,
        gathered: Gathered,
        vectors: NDArray[Any],
        centroids: NDArray[np.float32],
        ids: NDArray[np.int32],
        products: NDArray[np.float32],
    ) -> None:
        """Take what was found.

        Args:
            gathered: the rows.
            vectors: (n, d) as stored.
            centroids: (k, d).
            ids: (n,) the cluster of each row.
            products: (n,) inner product of each row and its centroid.
        """
        self.gathered, self.vectors, self.centroids, self.ids = gathered, vectors, centroids, ids
        length = np.linalg.norm(centroids, axis=1)
        self.similarity = (products / np.where(length > 0, length, 1)[ids]).astype(np.float32)
        """(n,) cosine of each row and its centroid."""


def kmeans(
    x: NDArray[np.float32], k: int, niter: int, *, seed: int = 0, spherical: bool = False, threads: int = 0
) -> NDArray[np.float32]:
    """Return the (k, d) centroids that Lloyd's algorithm ends with: first ones drawn from the rows, fixed iterations.

    A cluster that has become empty takes half of another, drawn with the chance of its size, as in faiss.

    Args:
        x: (n, d), n at least k.
        k: clusters.
        niter: iterations.
        seed: of all that is drawn.
        spherical: scale the centroids to length 1 after every iteration.
        threads: see `in_blocks`.
    """
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(seed)
    centroids = x[rng.choice(len(x), k, replace=False)].copy()
    rows, ones = np.arange(len(x)), np.ones(len(x), np.float32)
    for _ in range(niter):
        ids, _ = nearest(len(x), x.__getitem__, centroids, inner_product=False, threads=threads)
        sizes = np.bincount(ids, minlength=k)
        sums = csr_matrix((ones, (ids, rows)), shape=(k, len(x))) @ x  # adds rows in their order
        centroids = np.asarray(sums / np.maximum(sizes, 1)[:, None], np.float32)
        _split_into_empty(centroids, sizes, rng)
        if spherical:
            centroids = unit(centroids)
    return centroids


def _split_into_empty(centroids: NDArray[np.float32], sizes: NDArray[Any], rng: np.random.Generator) -> None:
    """Replace each empty cluster by one half of a large one, in place."""
    move = np.where(np.arange(centroids.shape[1]) % 2 == 0, 1 + SPLIT, 1 - SPLIT).astype(np.float32)
    for empty in np.flatnonzero(sizes == 0):
        spare = np.maximum(sizes - 1, 0)
        if not spare.any():  # every sample has a cluster of its own
            return
        full = rng.choice(len(sizes), p=spare / spare.sum())
        centroids[empty], centroids[full] = centroids[full] * move, centroids[full] / move
        sizes[empty] = sizes[full] // 2
        sizes[full] -= sizes[empty]


def nearest(
    num_rows: int,
    read: Callable[[slice], NDArray[np.float32]],
    centroids: NDArray[np.float32],
    *,
    inner_product: bool,
    threads: int = 0,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the nearest centroid of each row.

    Args:
        num_rows: n.
        read: returns some of the rows, (m, d).
        centroids: (k, d).
        inner_product: nearest by the highest inner product instead of by the smallest distance.
        threads: CPU threads; a GPU is taken where faiss knows one.

    Returns:
        (n,) indices, and (n,) inner products or squared distances.
    """
    faiss = require("faiss", "curate")
    index = (faiss.IndexFlatIP if inner_product else faiss.IndexFlatL2)(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids))
    on_gpu = faiss.get_num_gpus() > 0
    if on_gpu:
        index = faiss.index_cpu_to_all_gpus(index)
    ids, values = np.empty(num_rows, np.int32), np.empty(num_rows, np.float32)

    def work(rows: slice) -> None:
        faiss.omp_set_num_threads(1)  # of this thread
        value, found = index.search(read(rows), 1)
        values[rows], ids[rows] = value[:, 0], found[:, 0]

    in_blocks(num_rows, work, 1 if on_gpu else threads)
    return ids, values
