"""Keep what enough of several strategies keep: weak filters as voters.

Source: ours, in the manner of weak supervision by labelling functions (Ratner et al. 2017). DataComp's leaderboard
has a row "WS" without paper or code, which may mean this.
"""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from filters.choosing.compose import Part, needs_of
from filters.strategies.no_filter import NoFilter
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict

__all__ = ["Vote"]


class Vote(Strategy):
    """Keep a sample, once, if at least so many parts keep it; each part judges the whole pool."""

    of: list[Part] = Field(min_length=1)
    """The voters, each a nested strategy or the name of a configured one."""
    at_least: int = Field(default=2, ge=1)
    """How many must keep a sample."""

    @model_validator(mode="after")
    def _enough_voters(self) -> Self:
        if self.at_least > len(self.of):
            raise ValueError(f"`at_least` {self.at_least} exceeds the number of parts, {len(self.of)}")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Two voters for everything."""
        return cls(of=[NoFilter(), NoFilter()])

    def needs(self) -> tuple[str, ...]:
        """Read what the parts read."""
        return needs_of(self.of)

    def fit(self, pool: Pool) -> Judge:
        """Fit the parts; the judge counts their votes."""
        judges = [part.fit(pool) for part in self.of]
        words = f"kept by fewer than {self.at_least} of {len(judges)} strategies"

        def judge(columns: Columns) -> Verdict:
            votes = np.zeros(columns.num_samples, np.int64)
            for each in judges:
                votes += each(columns).keep
            return Verdict.of_rules(columns.num_samples, {words: votes >= self.at_least})

        return judge
