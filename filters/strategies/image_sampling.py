"""Sample pictures by how common their class is: rare classes more often, common ones less, repeats allowed.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "image-based sampling", which the paper describes without code.
A cluster stands for a class here.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from filters.choosing.ranking import Computed, flags_of, in_uid_order, scores_of
from filters.choosing.resampling import drawn, expected_counts, round_counts
from filters.strategy import Columns, Judge, Pool, Strategy

__all__ = ["ImageSampling"]


class ImageSampling(Strategy):
    """Draw each sample that hits the target with a weight of N ** (alpha - 1), N the hits of its class in the pool.

    alpha 1 draws all alike, alpha 0 gives each class the same size. Counts are whole numbers whose mean is that of
    draws with replacement; a sample that was drawn `max_repeats` times is drawn no more.
    """

    alpha: float = Field(default=0.2, ge=0)
    """How far the size of a class counts; the paper finds 0.2 to 0.5 best."""
    size: float = Field(default=1.0, gt=0)
    """How many samples to draw, repeats counted, as a share of the pool."""
    max_repeats: int = Field(default=100, ge=1, le=60_000)
    """Most copies of a sample."""
    classes: str = "clusters.id"
    """Column of class numbers."""
    hit: str = "target_clusters.hit"
    """Column of booleans: the sample is like the target set."""
    seed: int = 0
    """Another seed draws others."""

    def needs(self) -> tuple[str, ...]:
        """Read class and hit."""
        return (self.classes, self.hit)

    def fit(self, pool: Pool) -> Judge:
        """Count classes and draw."""

        def hit_class(columns: Columns) -> NDArray[np.float64]:
            return np.where(flags_of(columns, self.hit)[0], scores_of(columns[self.classes]), np.nan)

        rows = in_uid_order(Computed(pool, "class", self.needs(), hit_class), ["class"])
        rows = rows.take(~np.isnan(rows["class"]))
        _, which, sizes = np.unique(rows["class"], return_inverse=True, return_counts=True)
        weights = (sizes ** (self.alpha - 1.0))[which]
        expected = expected_counts(weights, self.size * pool.num_samples, self.max_repeats)
        count = round_counts(expected, rows.uids, "image_sampling", self.seed)
        return drawn(rows.uids, count, "no hit of the target, or not drawn")
