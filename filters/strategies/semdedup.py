"""SemDeDup: of pictures that look nearly the same, keep one.

Source: Abbas et al. 2023, SemDeDup (arXiv 2303.09540): within a cluster, in order of the distance to its centroid, an
item goes if it is more similar than 1 - epsilon to one before it. The pool scorer `semantic_duplicates` measures that.
"""

from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["SemDeDup"]


class SemDeDup(Strategy):
    """Drop a pair if an earlier one of its cluster is nearer than epsilon; where there is none (NaN), it stays."""

    similarity: str = "semantic_duplicates.similarity"
    """Column of the highest cosine with an earlier item of the cluster."""
    epsilon: float = Field(default=0.05, ge=0, le=2)
    """How far from all earlier ones a picture must be, as 1 - cosine; the choice is ours, the paper tries many."""

    def needs(self) -> tuple[str, ...]:
        """Read the similarity."""
        return (self.similarity,)

    def judge(self, columns: Columns) -> Verdict:
        """Compare with the limit, in the precision of the column."""
        similarity = scores_of(columns[self.similarity])
        repeats = similarity > 1 - self.epsilon  # False for NaN
        return Verdict.of_rules(len(similarity), {f"{self.similarity} above {1 - self.epsilon:g}": ~repeats})
