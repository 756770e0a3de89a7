"""Of pictures that are the same but for size, compression or small edits, keep one.

Source: near-duplicate removal as in DataComp (arXiv 2304.14108, Table 9) and LAION; the groups are the business of the
pool scorer `near_duplicates`, which calls one of each group first.
"""

from filters.choosing.ranking import flags_of
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["NearDuplicates"]


class NearDuplicates(Strategy):
    """Keep the first of every group of near-duplicates; a missing value is never kept."""

    first: str = "near_duplicates.first"
    """Column of booleans: no other of the group is to be kept instead."""

    def needs(self) -> tuple[str, ...]:
        """Read which is the first."""
        return (self.first,)

    def judge(self, columns: Columns) -> Verdict:
        """Keep the first."""
        first, known = flags_of(columns, self.first)
        rules = {f"{self.first} missing": known, "near-duplicate of a sample that is kept": first}
        return Verdict.of_rules(columns.num_samples, rules)
