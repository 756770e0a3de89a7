"""Keep what every one of several strategies keeps: DataComp's intersections of filters."""

from typing import Self

from pydantic import Field

from filters.choosing.compose import Part, in_turn, needs_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Judge, Pool, Strategy

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
        """Fit the parts; the judge asks them in turn, each about what those before it keep."""
        judge = self.of[0].fit(pool)
        for part in self.of[1:]:
            judge = in_turn(judge, part.fit(pool), part.needs())
        return judge
