"""Semantic duplicates: how similar each sample is to one of its cluster that would be kept before it.

Source: Abbas et al. 2023, SemDeDup (arXiv 2303.09540): 50,000 clusters by cosine, 100 iterations; within a cluster, in
the order of the distance to the centroid, an item goes whose highest similarity to an earlier one is above 1 - epsilon.

Shapes: m samples of a cluster, d embedding.
"""

from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from filters.models.compute import cpu_threads, resolve_device
from filters.pool_scorer import PoolScores
from filters.strategy import Pool
from filters.subset import hash_uids
from filters.vectors.clustering import Clustered
from filters.vectors.embeddings import unit

__all__ = ["SemanticDuplicates"]

ROWS = 1024
NONE = -1.0
"""Similarity of a sample that no other of its cluster comes before."""


class SemanticDuplicates(Clustered):
    """Column `similarity` (float32): highest cosine to an earlier sample of the cluster, -1 for the first one."""

    num_clusters: int = Field(default=50_000, ge=1)
    """k; the paper's is for hundreds of millions of samples."""
    niter: int = Field(default=100, ge=1)
    """Iterations of k-means."""
    spherical: bool = True
    """The clusters are those of cosine."""
    keep: Literal["hard", "easy", "random"] = "hard"
    """What comes first: far from the centroid, near it, or by hash of uid. Ties go to the lower uid."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""

    @classmethod
    def tiny(cls) -> Self:
        """Return an instance for pools of a few samples."""
        return cls(num_clusters=2, niter=5)

    def score(self, pool: Pool) -> PoolScores:
        """Compare the samples of each cluster."""
        torch.set_num_threads(cpu_threads(self.threads))
        device = resolve_device(self.device)
        found = self.clusters(pool)
        if self.keep == "random":
            rank: NDArray[Any] = hash_uids(found.gathered.uids, self.seed)
        else:
            rank = found.similarity if self.keep == "hard" else -found.similarity
        order = np.lexsort((rank, found.ids))  # stable: the rows lie in the order of uids
        similarity = np.full(len(order), NONE, np.float32)
        ends = np.cumsum(np.bincount(found.ids, minlength=len(found.centroids)))
        for rows in np.split(order, ends[:-1]):
            if len(rows) > 1:
                members = torch.from_numpy(unit(found.vectors[rows])).to(device)
                similarity[rows] = highest_to_earlier(members)
        return PoolScores(columns={"similarity": found.gathered.in_pool_order(similarity)})


def highest_to_earlier(members: torch.Tensor) -> NDArray[np.float32]:
    """Return the (m,) highest inner product of each row and one before it, -1 for the first.

    Args:
        members: (m, d) of length 1, in order.
    """
    out = torch.full((len(members),), NONE, device=members.device)
    for start in range(0, len(members), ROWS):
        stop = min(start + ROWS, len(members))
        products = members[start:stop] @ members[:stop].T  # (rows, stop)
        own = products[:, start:]  # what of it is above the diagonal is not earlier
        own.masked_fill_(torch.ones_like(own, dtype=torch.bool).triu_(), NONE)
        out[start:stop] = products.amax(1)
    return out.clamp_(-1, 1).cpu().numpy()
