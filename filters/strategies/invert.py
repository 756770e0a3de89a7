"""Keep exactly what another strategy drops: to look at what a filter throws away, or to train on it."""

from typing import Self

import numpy as np

from filters.compose import Part, describe
from filters.strategies.no_filter import NoFilter
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["Invert"]


class Invert(Strategy):
    """Keep the complement, once each; what the strategy drops for a missing value is part of it."""

    of: Part
    """A nested strategy or the name of a configured one."""

    @classmethod
    def tiny(cls) -> Self:
        """Nothing of everything."""
        return cls(of=NoFilter())

    def needs(self) -> tuple[str, ...]:
        """Read what the inverted strategy reads."""
        return self.of.needs()

    def select(self, columns: Columns) -> Verdict:
        """Turn the verdict round."""
        kept = self.of.select(columns).keep
        return Verdict.of_rules(len(kept), {f"kept by {describe(self.of)['use']}": np.logical_not(kept)})
