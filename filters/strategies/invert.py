"""Keep exactly what another strategy drops: to look at what a filter throws away, or to train on it."""

from typing import Self

from filters.choosing.compose import Part, describe
from filters.strategies.no_filter import NoFilter
from filters.strategy import Judge, Pool, Strategy, Verdict

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

    def fit(self, pool: Pool) -> Judge:
        """Fit the strategy; the judge turns its verdict round."""
        of, words = self.of.fit(pool), f"kept by {describe(self.of)['use']}"
        return lambda columns: Verdict.of_rules(columns.num_samples, {words: ~of(columns).keep})
