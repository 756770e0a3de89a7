"""Keep what one strategy keeps and another does not."""

from typing import Self

import numpy as np

from filters.compose import Part, describe, needs_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["Difference"]


class Difference(Strategy):
    """Take `minus` away from `of`; both judge the whole pool. A sample stays as often as `of` keeps it."""

    of: Part
    """What to keep: a nested strategy or the name of a configured one."""
    minus: Part
    """What to take away from it."""

    @classmethod
    def tiny(cls) -> Self:
        """Everything less everything."""
        return cls(of=NoFilter(), minus=NoFilter())

    def needs(self) -> tuple[str, ...]:
        """Read what both read."""
        return needs_of((self.of, self.minus))

    def select(self, columns: Columns) -> Verdict:
        """Combine the two verdicts."""
        verdict, away = self.of.select(columns), self.minus.select(columns).keep
        taken = np.where(verdict.keep & away, f"kept by {describe(self.minus)['use']}", verdict.reason)
        return Verdict(np.where(away, 0, verdict.count).astype(np.uint16), taken.astype(object))
