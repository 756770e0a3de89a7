"""Keep what at least one of several strategies keeps."""

from functools import reduce
from typing import Self

import numpy as np
from pydantic import Field

from filters.compose import Part, needs_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["AnyOf"]


class AnyOf(Strategy):
    """Unite strategies; each judges the whole pool.

    A sample is kept as often as the most generous part keeps it; the reason of a drop joins those of all parts.
    """

    of: list[Part] = Field(min_length=1)
    """The parts, each a nested strategy or the name of a configured one."""

    @classmethod
    def tiny(cls) -> Self:
        """Any of everything."""
        return cls(of=[NoFilter(), NoFilter()])

    def needs(self) -> tuple[str, ...]:
        """Read what the parts read."""
        return needs_of(self.of)

    def select(self, columns: Columns) -> Verdict:
        """Combine the parts' verdicts."""
        verdicts = [part.select(columns) for part in self.of]
        count = reduce(np.maximum, (verdict.count for verdict in verdicts))
        joined = reduce(lambda first, then: first + "; " + then, (verdict.reason for verdict in verdicts))
        return Verdict(count, np.where(count > 0, "", joined).astype(object))
