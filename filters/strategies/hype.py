"""HYPE: keep pairs that are specific and well aligned, by one sum of five scores.

Source: Kim et al. 2024, HYPE (arXiv 2404.17507): specificity of the picture and of the caption, negative Lorentz
distance, cosine of an ordinary CLIP and whether the picture lies in a cluster of ImageNet's. The first three are the
business of the pool scorer `hyperbolic`; its Table 3 finds them sufficient.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from filters.choosing.ranking import Score, flags_of, scores_of
from filters.choosing.score_cut import ScoreCut
from filters.strategy import Columns, Pool

__all__ = ["Hype"]


class Hype(ScoreCut):
    """Keep the highest sums, unweighted and as they stand, the top 20% of the pool unless told otherwise.

    A pair that lacks one of the parts is never kept.
    """

    default_fraction: ClassVar[float] = 0.2

    hyperbolic: str = "hyperbolic"
    """Name of the pool scorer's columns."""
    clip: str | None = "clip.similarity"
    """Column of the cosine of an ordinary CLIP; None leaves it out."""
    hit: str | None = "target_clusters.hit"
    """Column of booleans: the picture's cluster is the nearest of some target picture; None leaves it out."""

    @property
    def label(self) -> str:
        """Call the score by the paper's name."""
        return "HYPE score"

    def _parts(self) -> tuple[str, ...]:
        """Return the columns of numbers that are summed."""
        names = ("image_specificity", "text_specificity", "negative_distance")
        return (*(f"{self.hyperbolic}.{name}" for name in names), *((self.clip,) if self.clip else ()))

    def needs(self) -> tuple[str, ...]:
        """Read the parts of the sum."""
        return (*self._parts(), *((self.hit,) if self.hit else ()))

    def fit_score(self, pool: Pool) -> Score:
        """Add up; nothing of the pool is needed."""

        def score(columns: Columns) -> NDArray[np.float64]:
            total = np.zeros(columns.num_samples)
            for name in self._parts():
                total += scores_of(columns[name])
            if self.hit:
                hits, known = flags_of(columns, self.hit)
                total[known] += hits[known]
                total[~known] = np.nan
            return total

        return score
