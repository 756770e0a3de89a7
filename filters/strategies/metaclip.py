"""MetaCLIP's balancing: thin out captions that match only common entries of the metadata, drop those that match none.

Source: Xu et al. 2023, Demystifying CLIP data (arXiv 2309.16671): entry e keeps a pair with probability
p_e = min(1, t / count_e), a pair stays if any of its entries keeps it, so P = 1 - prod(1 - p_e), the column of the pool
scorer `metaclip`. Balancing is its last step, after deduplication.
"""

import numpy as np

from filters.choosing.ranking import scores_of
from filters.choosing.resampling import uniforms
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["MetaCLIP"]


class MetaCLIP(Strategy):
    """Keep a pair with the probability that its column says, drawn by hash of uid and seed."""

    probability: str = "metaclip.probability"
    """Column of probabilities to keep."""
    matches: str = "metaclip.matches"
    """Column of how many entries match; with none the pair is dropped."""
    seed: int = 0
    """Another seed draws others."""

    def needs(self) -> tuple[str, ...]:
        """Read probability and number of matches."""
        return (self.probability, self.matches)

    def judge(self, columns: Columns) -> Verdict:
        """Draw."""
        probability, matches = (scores_of(columns[name]) for name in self.needs())
        lot = uniforms(columns.uids, "metaclip", self.seed)
        return Verdict.of_rules(
            columns.num_samples,
            {
                f"{self.probability} missing": ~np.isnan(probability) & ~np.isnan(matches),
                "no entry of the metadata matches": matches > 0,
                "not drawn: its entries are common": lot < probability,
            },
        )
