"""Keep a band of the CLIP score: the top fraction without its very top.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), the row "CLIP B/32 score 1%-30%" of its tables of baselines.
"""

from typing import Self

from pydantic import Field, model_validator

from filters.choosing.ranking import num_of, scores_of, top
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict

__all__ = ["Band"]


class Band(Strategy):
    """Keep the floor(fraction * n) highest scores but the floor(skip * n) highest; ties and NaN as in `clip_score`."""

    score: str = "clip.similarity"
    """Column of scores."""
    skip: float = Field(default=0.01, ge=0, lt=1)
    """Share of the pool, from the top, to leave out."""
    fraction: float = Field(default=0.3, gt=0, le=1)
    """Share of the pool, from the top, where the band ends."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.skip >= self.fraction:
            raise ValueError(f"`skip` {self.skip:g} must be less than `fraction` {self.fraction:g}")
        return self

    def needs(self) -> tuple[str, ...]:
        """Read the score."""
        return (self.score,)

    def fit(self, pool: Pool) -> Judge:
        """Find both ends."""
        skipped = top(pool, self.score, num_of(self.skip, pool.num_samples))
        wanted = top(pool, self.score, num_of(self.fraction, pool.num_samples))

        def judge(columns: Columns) -> Verdict:
            scores = scores_of(columns[self.score])
            rules = {
                f"{self.score} missing": scores == scores,
                f"{self.score} not among the top {100 * self.fraction:g}%": wanted.keeps(scores, columns.uids),
                f"{self.score} among the top {100 * self.skip:g}%": ~skipped.keeps(scores, columns.uids),
            }
            return Verdict.of_rules(len(scores), rules)

        return judge
