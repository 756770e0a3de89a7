"""Keep what every one of several strategies keeps: DataComp's intersections of filters."""

from functools import reduce
from typing import Self

import numpy as np
from pydantic import Field

from filters.compose import Part, both, needs_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Judge, Pool, Strategy, Verdict

__all__ = ["AllOf"]


class AllOf(Strategy):
    """Intersect strategies; each judges the whole pool, so a top fraction is one of the pool.

    Use `top_fraction` for a fraction of what another strategy keeps. A sample is kept as often as the strictest part
    keeps it; the reason of a drop is that of the first part that drops it.
    """

    of: list[Part] = Field(min_length=1)
    """The parts, each a nested strategy or the name of a configured one."""

    @classmethod
    def tiny(cls) -> Self:
        """All of everything."""
        return cls(of=[NoFilter(), NoFilter()])

    def needs(self) -> tuple[str, ...]:
        """Read what the parts read."""
        return needs_of(self.of)

    def fit(self, pool: Pool) -> Judge:
        """Fit the parts; the judge combines their verdicts."""
        judges = [part.fit(pool) for part in self.of]

        def combine(first: Verdict, then: Verdict) -> Verdict:
            return both(first, then, np.minimum(first.count, then.count))

        return lambda columns: reduce(combine, (judge(columns) for judge in judges))
