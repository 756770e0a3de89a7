"""SIEVE with CLIP: the mean of both scores, each stretched to [0, 1] over the pool.

Source: Mahmoud et al. 2023, SIEVE (arXiv 2310.02110), the fusion of its code.
"""

from typing import ClassVar

from pydantic import Field

from filters.choosing.normalise import normaliser
from filters.choosing.ranking import Score, scores_of, whole
from filters.choosing.score_cut import ScoreCut
from filters.strategy import Pool

__all__ = ["SieveFusion"]


class SieveFusion(ScoreCut):
    """Keep the highest weighted means, the top 20% of the pool unless told otherwise; both scores must be there."""

    default_fraction: ClassVar[float] = 0.2

    sieve: str = "caption_similarity.similarity"
    """Column of SIEVE's score."""
    clip: str = "clip.similarity"
    """Column of CLIP's score."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of SIEVE's score; CLIP's has the rest."""

    @property
    def label(self) -> str:
        """Call the score a fusion."""
        return f"fusion of {self.sieve} and {self.clip}"

    def needs(self) -> tuple[str, ...]:
        """Read both scores."""
        return (self.sieve, self.clip)

    def fit_score(self, pool: Pool) -> Score:
        """Find the range of both scores."""
        sieve, clip = (normaliser(whole(pool, name), "minmax") for name in self.needs())
        return lambda columns: (
            self.weight * sieve(scores_of(columns[self.sieve]))
            + (1 - self.weight) * clip(scores_of(columns[self.clip]))
        )
