"""Density and prototype statistics: how tight each sample's cluster is and how far from the others.

Source: Abbas et al. 2024, density-based pruning (arXiv 2401.04578): clusters of embeddings by cosine; d_intra is the
mean cosine distance of a cluster's samples to its centroid, d_inter that of its centroid to the 20 nearest ones.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from filters.pool_scorer import PoolScores
from filters.strategy import Pool
from filters.vectors.clustering import Clustered
from filters.vectors.embeddings import unit

__all__ = ["Prototypes"]


class Prototypes(Clustered):
    """Columns `cluster` (int32), `intra`, `inter` (float32, of the sample's cluster), `similarity` (to its centroid).

    Where there is one cluster alone, it has no others to be far from: `inter` is 0.
    """

    spherical: bool = True
    """The clusters are those of cosine."""
    num_neighbors: int = Field(default=20, ge=1)
    """Nearest centroids that `inter` is the mean of; all others where there are fewer."""

    @classmethod
    def tiny(cls) -> Self:
        """Return an instance for pools of a few samples."""
        return cls(num_clusters=3, num_neighbors=1)

    def score(self, pool: Pool) -> PoolScores:
        """Measure each cluster, and copy what was found to its samples."""
        found = self.clusters(pool)
        k = len(found.centroids)
        distances = np.bincount(found.ids, weights=1 - found.similarity.astype(np.float64), minlength=k)
        intra = distances / np.maximum(np.bincount(found.ids, minlength=k), 1)
        inter = _nearest_others(unit(found.centroids), self.num_neighbors)
        back = found.gathered.in_pool_order
        return PoolScores(
            columns={
                "cluster": back(found.ids),
                "intra": back(intra.astype(np.float32)[found.ids]),
                "inter": back(inter[found.ids]),
                "similarity": back(found.similarity),
            }
        )


def _nearest_others(centroids: NDArray[np.float32], num: int) -> NDArray[np.float32]:
    """Return the (k,) mean cosine distance of each centroid to its `num` nearest others.

    Args:
        centroids: (k, d) of length 1.
        num: fewer where k - 1 is.
    """
    num = min(num, len(centroids) - 1)
    out = np.zeros(len(centroids), np.float32)
    if num == 0:
        return out
    for start in range(0, len(centroids), 1024):
        similarity = centroids[start : start + 1024] @ centroids.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf  # not its own neighbour
        nearest = np.partition(similarity, -num, axis=1)[:, -num:]
        out[start : start + 1024] = 1 - nearest.mean(axis=1)
    return out
