"""Filters one after the other: each looks at what those before it keep, not at the whole pool.

`all_of` lets all look at the whole pool. The order matters here: a top 30% after a deduplication is another one.
"""

from typing import Self

from pydantic import Field

from filters.choosing.compose import Part, in_sequence, needs_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Judge, Pool, Strategy

__all__ = ["Sequence"]


class Sequence(Strategy):
    """Keep what passes all parts in turn, as often as the part that keeps it least often."""

    of: list[Part] = Field(min_length=1)
    """The parts in order, each a nested strategy or the name of a configured one."""

    @classmethod
    def tiny(cls) -> Self:
        """Everything twice over."""
        return cls(of=[NoFilter(), NoFilter()])

    def needs(self) -> tuple[str, ...]:
        """Read what the parts read."""
        return needs_of(self.of)

    def fit(self, pool: Pool) -> Judge:
        """Fit the parts one after the other."""
        return in_sequence(pool, *self.of)
