"""C-RHO: keep the pairs that a CLIP trained on clean data agrees with more than one that was trained on the pool.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132), after the reducible hold-out loss (Mindermann et al. 2022).
Neither code nor a share of a pool is published: 0.6 is what the sizes of "T-MARS and C-RHO" imply of T-MARS's set
(15M of 25M).
"""

from typing import ClassVar

from filters.choosing.ranking import Score, scores_of
from filters.choosing.score_cut import ScoreCut
from filters.strategy import Pool

__all__ = ["CRHO"]


class CRHO(ScoreCut):
    """Keep the largest differences of two similarities, hold-out model minus pool model; 60% of the pool by default."""

    default_fraction: ClassVar[float] = 0.6

    heldout: str = "clip_heldout.similarity"
    """Column of similarities under the model that was trained on clean data."""
    trained: str = "clip_pool.similarity"
    """Column of similarities under the model that was trained on the pool."""

    @property
    def label(self) -> str:
        """Call the score a difference."""
        return f"{self.heldout} - {self.trained}"

    def needs(self) -> tuple[str, ...]:
        """Read both similarities."""
        return (self.heldout, self.trained)

    def fit_score(self, pool: Pool) -> Score:
        """Subtract."""
        return lambda columns: scores_of(columns[self.heldout]) - scores_of(columns[self.trained])
