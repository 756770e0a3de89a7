"""The cluster of each sample: k-means over the pool's embeddings, as DataComp's image-based filter makes them.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108): k-means, 100,000 clusters, 20 iterations, all samples seen (a
share of 0.3 at the scale large, 0.03 at xlarge); a sample belongs to the centroid of highest inner product.
"""

from pydantic import Field

from filters.pool_scorer import PoolScores
from filters.strategy import Pool
from filters.vectors.clustering import Clustered

__all__ = ["Clusters"]


class Clusters(Clustered):
    """Columns `id` (int32) and `similarity` (float32 cosine to the centroid); the centroids are kept as a file."""

    num_clusters: int = Field(default=100_000, ge=1)
    """k; DataComp's is for pools of 12.8 million samples and more."""

    def score(self, pool: Pool) -> PoolScores:
        """Assign every sample."""
        found = self.clusters(pool)
        back = found.gathered.in_pool_order
        return PoolScores(
            columns={"id": back(found.ids), "similarity": back(found.similarity)},
            arrays={"centroids": found.centroids},
        )
