"""DBP, density-based pruning: keep more of complex clusters than of simple ones, and of each its outer members.

Source: Abbas et al. 2024, Effective pruning of web-scale datasets based on complexity of concept clusters (arXiv
2401.04578): a cluster's complexity is its mean distance to the centroid times its distance to other centroids; softmax
gives its share, a quadratic programme its quota. The paper applies it after a CLIP filter and SemDeDup: see `sequence`.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from filters.choosing.quotas import quotas, round_quotas
from filters.choosing.ranking import in_uid_order, num_of, scores_of
from filters.choosing.resampling import drawn
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict
from filters.subset import hash_uids

__all__ = ["DBP"]


class DBP(Strategy):
    """Keep exactly floor(fraction * n) of n samples, by quotas of clusters; fewer where fewer have a cluster.

    With N to keep and k clusters, a quota lies between min(N / k / 2, size - 1) and size of its cluster, as near to
    share * N as the sum allows. Ties at the end of a quota are told apart by a hash of the uid.
    """

    fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of the pool to keep."""
    temperature: float = Field(default=0.5, gt=0)
    """Of the softmax over complexities; lower favours the complex more."""
    cluster: str = "prototypes.cluster"
    """Column of cluster numbers."""
    intra: str = "prototypes.intra"
    """Column of the cluster's mean distance (1 - cosine) to its centroid, the same for all its members."""
    inter: str = "prototypes.inter"
    """Column of the centroid's mean distance to its nearest centroids, the same for all members."""
    similarity: str = "prototypes.similarity"
    """Column of the cosine of a picture with its centroid; low is far out."""

    def needs(self) -> tuple[str, ...]:
        """Read the clusters and the places in them."""
        return (self.cluster, self.intra, self.inter, self.similarity)

    def fit(self, pool: Pool) -> Judge:
        """Find the quotas and fill them."""
        rows = in_uid_order(pool, self.needs())
        rows = rows.take(self._known(rows))
        _, first, which, sizes = np.unique(
            rows[self.cluster], return_index=True, return_inverse=True, return_counts=True
        )
        num_kept = min(num_of(self.fraction, pool.num_samples), rows.num_samples)
        complexity = (rows[self.intra][first].astype(np.float64) * rows[self.inter][first]) / self.temperature
        shares = np.exp(complexity - complexity.max(initial=-np.inf))
        quota = np.zeros(0, np.int64)
        if len(sizes):
            lower = np.minimum(num_kept / len(sizes) / 2, sizes - 1)
            quota = round_quotas(quotas(shares / shares.sum(), num_kept, lower, sizes), num_kept, sizes)
        order = np.lexsort((hash_uids(rows.uids), rows[self.similarity], which))  # clusters, each from its outside
        place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        inside = order[place < np.repeat(quota, sizes)]
        count = np.zeros(rows.num_samples, np.int64)
        count[inside] = 1
        chosen = drawn(rows.uids, count, "")

        def judge(columns: Columns) -> Verdict:
            rules = {"no cluster": self._known(columns), "beyond its cluster's quota": chosen(columns).keep}
            return Verdict.of_rules(columns.num_samples, rules)

        return judge

    def _known(self, columns: Columns) -> NDArray[np.bool_]:
        """Mark the rows that have all values."""
        known = np.ones(columns.num_samples, bool)
        for name in self.needs():
            known &= ~np.isnan(scores_of(columns[name]))
        return known
