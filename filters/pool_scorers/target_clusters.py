"""DataComp's image-based filter: is the sample in a cluster that a target picture is in, too?

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), baselines/image_based_clustering.py: target and pool embeddings
are both assigned to the centroid of highest inner product; the target set is the training set of ImageNet-1k.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
from pydantic import Field

from filters.pool_scorer import PoolScores
from filters.strategy import Pool
from filters.vectors.clustering import Clustered, nearest
from filters.vectors.target_set import TargetSet

__all__ = ["TargetClusters"]


class TargetClusters(Clustered):
    """Column `hit` (bool): the sample's centroid is that of some target embedding."""

    num_clusters: int = Field(default=100_000, ge=1)
    """k; DataComp's is for pools of 12.8 million samples and more."""
    target: TargetSet
    """Embeddings of the target set, by the model of `embedding`."""

    @classmethod
    def tiny(cls) -> Self:
        """Return an instance for pools of a few samples; its target set must still be written."""
        return cls(num_clusters=2, target=TargetSet(path="target.npy"))

    def identity(self) -> Mapping[str, str]:
        """Return the hashes of given centroids and of the target set."""
        return {**super().identity(), **self.target.identity()}

    def score(self, pool: Pool) -> PoolScores:
        """Assign the target set, then look up every sample's cluster."""
        found = self.clusters(pool)
        target = self.target.check(found.centroids.shape[1], self.embedding)
        ids, _ = nearest(len(target), target.__getitem__, found.centroids, inner_product=True, threads=self.threads)
        hit = np.zeros(len(found.centroids), bool)
        hit[ids] = True
        return PoolScores(columns={"hit": found.gathered.in_pool_order(hit[found.ids])})
