"""Keep the highest scores among what another strategy keeps: filters one after the other, not side by side."""

from typing import Self

import numpy as np
from pydantic import Field

from filters.compose import Part
from filters.ranking import highest, nth_highest, num_of, scores_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Columns, Strategy, Verdict

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

    def select(self, columns: Columns) -> Verdict:
        """Rank what the first strategy leaves."""
        first = self.of.select(columns)
        rows = np.flatnonzero(first.keep)
        scores = scores_of(columns[self.score])[rows]
        num_kept = num_of(self.fraction, len(rows))
        keep = highest(scores, num_kept, columns.uids[rows])
        cut, top = nth_highest(scores, num_kept), f"(top {100 * self.fraction:g}% of {len(rows)})"
        second = Verdict.of_rules(
            len(rows),
            {
                f"{self.score} missing": ~np.isnan(scores),
                f"{self.score} below {cut:.4g} {top}": keep | (scores == cut),
                f"{self.score} ties with the cut {cut:.4g} {top}": keep,
            },
        )
        count, reason = first.count.copy(), first.reason.copy()
        count[rows[~keep]] = 0
        reason[rows] = second.reason
        return Verdict(count, reason)
