"""Keep what at least one of several strategies keeps."""

from functools import reduce
from typing import Self

import numpy as np
from pydantic import Field

from filters.choosing.compose import Part, needs_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Judge, Pool, Strategy, Verdict

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

    def fit(self, pool: Pool) -> Judge:
        """Fit the parts; the judge combines their verdicts."""
        judges = [part.fit(pool) for part in self.of]
        return lambda columns: reduce(_either, (judge(columns) for judge in judges))


def _either(first: Verdict, then: Verdict) -> Verdict:
    """Unite two verdicts; a drop has the reasons of both."""
    count = np.maximum(first.count, then.count)
    width = len(then.reasons)
    pairs, code = np.unique(np.where(count > 0, 0, first.code * np.int64(width) + then.code), return_inverse=True)
    reasons = [f"{first.reasons[pair // width]}; {then.reasons[pair % width]}" if pair else "" for pair in pairs]
    if "" in reasons:
        return Verdict(count, code.astype(np.uint16), tuple(reasons))
    return Verdict(count, (code + 1).astype(np.uint16), ("", *reasons))
