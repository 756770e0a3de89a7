"""A weighted sum of several scores, each brought onto one scale: what the leading filters of DataComp have in common.

Source: the arithmetic of the score mixes at the head of DataComp's leaderboard; the weights are yours.
"""

from pydantic import Field

from filters.choosing.normalise import Normalisation, normaliser
from filters.choosing.ranking import Score, scores_of, whole
from filters.choosing.score_cut import ScoreCut
from filters.strategy import Pool

__all__ = ["ScoreMix"]


class ScoreMix(ScoreCut):
    """Keep the highest weighted sums; a pair that lacks one of the scores is never kept."""

    weights: dict[str, float] = Field(default={"clip.similarity": 1.0}, min_length=1)
    """Column -> weight; a negative weight prefers low scores."""
    normalise: Normalisation = "zscore"
    """How to scale each column over the pool first: none, minmax to [0, 1], zscore, or rank to a share in (0, 1)."""

    @property
    def label(self) -> str:
        """Call the score a mix."""
        return f"mix of {len(self.weights)} scores"

    def needs(self) -> tuple[str, ...]:
        """Read the scores."""
        return tuple(self.weights)

    def fit_score(self, pool: Pool) -> Score:
        """Find the scale of each column."""
        scale = {name: normaliser(whole(pool, name), self.normalise) for name in sorted(self.weights)}
        return lambda columns: sum(  # type: ignore[return-value]
            self.weights[name] * normalise(scores_of(columns[name])) for name, normalise in scale.items()
        )
