"""A uniform random subset: the control for "less data", by fraction or of the size that another strategy keeps.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "random subset"; the paper publishes no code for it.
"""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from filters.choosing.compose import Part
from filters.choosing.ranking import Kept, lowest_hashes, num_of
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict
from filters.subset import hash_uids, precedes
from winnow.uid import UID

__all__ = ["RandomSubset"]


class RandomSubset(Strategy):
    """Keep exactly n samples, those with the lowest hash of uid and seed: never a matter of position in the pool.

    Of two fractions under one seed the smaller subset lies within the larger.
    """

    fraction: float | None = Field(default=None, ge=0, le=1)
    """Keep floor(fraction * n) of n samples."""
    same_size_as: Part | None = None
    """Keep as many samples as this strategy does: the name of a configured one, or a nested strategy."""
    seed: int = 0
    """Another seed draws others."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.fraction is None) == (self.same_size_as is None):
            raise ValueError("give either `fraction` or `same_size_as`")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Half of the pool."""
        return cls(fraction=0.5)

    def needs(self) -> tuple[str, ...]:
        """Read what the strategy reads whose size it takes."""
        return self.same_size_as.needs() if self.same_size_as else ()

    def fit(self, pool: Pool) -> Judge:
        """Find the last hash to draw."""
        if self.same_size_as is not None:
            needs = self.same_size_as.needs()
            num_kept = Kept(pool, self.same_size_as.fit(pool), needs).num_samples
        else:
            num_kept = num_of(self.fraction or 0.0, pool.num_samples)
        uids = [columns.uids for columns in pool.chunks([])]
        last = lowest_hashes(np.concatenate([np.zeros(0, UID), *uids]), num_kept, self.seed)

        def judge(columns: Columns) -> Verdict:
            drawn = precedes(hash_uids(columns.uids, self.seed), columns.uids, last)
            return Verdict.of_rules(columns.num_samples, {"not drawn": drawn})

        return judge
