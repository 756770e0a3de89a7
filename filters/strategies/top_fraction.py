"""Keep the highest scores among what another strategy keeps: filters one after the other, not side by side."""

from typing import Self

import numpy as np
from pydantic import Field

from filters.choosing.compose import Part, both
from filters.choosing.ranking import Kept, num_of, scores_of, top
from filters.strategies.no_filter import NoFilter
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict

__all__ = ["TopFraction"]


class TopFraction(Strategy):
    """Keep exactly floor(fraction * m) of the m samples that `of` keeps, by score; ties as in `clip_score`.

    A missing score is never kept; it counts in m. A sample stays as often as `of` keeps it.
    """

    of: Part
    """Who chooses first: a nested strategy or the name of a configured one."""
    score: str = "clip.similarity"
    """Column of scores; higher is better."""
    fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of those samples to keep."""

    @classmethod
    def tiny(cls) -> Self:
        """The better half of everything."""
        return cls(of=NoFilter())

    def needs(self) -> tuple[str, ...]:
        """Read the score and what the first strategy reads."""
        return tuple(dict.fromkeys((*self.of.needs(), self.score)))

    def fit(self, pool: Pool) -> Judge:
        """Fit the first strategy, then find the cut among what it leaves."""
        first = self.of.fit(pool)
        left = Kept(pool, first, self.of.needs())
        cut = top(left, self.score, num_of(self.fraction, left.num_samples))
        words = f"(top {100 * self.fraction:g}% of {left.num_samples})"

        def judge(columns: Columns) -> Verdict:
            before = first(columns)
            scores = scores_of(columns[self.score])
            keep = cut.keeps(scores, columns.uids)
            rules = {
                f"{self.score} missing": ~np.isnan(scores),
                f"{self.score} below {cut.score:.4g} {words}": keep | (scores == cut.score),
                f"{self.score} ties with the cut {cut.score:.4g} {words}": keep,
            }
            return both(before, Verdict.of_rules(len(scores), rules), before.count)

        return judge
