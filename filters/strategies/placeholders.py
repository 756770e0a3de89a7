"""Drop pictures whose very bytes many samples share: "image not available", logos, tracking pixels.

Source: ours; the pool scorer `hash_multiplicity` counts equal hashes of the original files.
"""

import numpy as np
from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["Placeholders"]


class Placeholders(Strategy):
    """Drop all samples of a file that `min_count` samples or more have; a missing count is never kept."""

    count: str = "hash_multiplicity.count"
    """Column of how many samples of the pool have this file, this one included."""
    min_count: int = Field(default=3, ge=2)
    """As many samples make a placeholder of it; the download's own limit is the same."""

    def needs(self) -> tuple[str, ...]:
        """Read the count."""
        return (self.count,)

    def judge(self, columns: Columns) -> Verdict:
        """Compare with the limit."""
        count = scores_of(columns[self.count])
        return Verdict.of_rules(
            len(count),
            {
                f"{self.count} missing": ~np.isnan(count),
                f"{self.min_count} samples or more have this file": count < self.min_count,
            },
        )
