"""Keep the whole pool: the baseline that every filter has to beat.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "no filtering".
"""

from filters.strategy import Columns, Strategy, Verdict

__all__ = ["NoFilter"]


class NoFilter(Strategy):
    """Keep every sample once."""

    def judge(self, columns: Columns) -> Verdict:
        """Keep all."""
        return Verdict.of_rules(columns.num_samples, {})
