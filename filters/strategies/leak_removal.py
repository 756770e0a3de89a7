"""Drop pictures that are near-duplicates of evaluation pictures: a model must not have seen its exam.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108): cosine of ISC21 descriptors (ft_v107) above 0.604169, where
precision is 0.9 and recall 0.8. CLIP ViT-B/32 does far worse: at 0.96 its recall is 0.02.
"""

import numpy as np

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["LeakRemoval"]


class LeakRemoval(Strategy):
    """Drop a pair if its picture's highest cosine with an evaluation picture exceeds the threshold, or is missing."""

    score: str = "target_similarity.score"
    """Column of the highest cosine with the evaluation pictures."""
    threshold: float = 0.604169
    """Highest cosine to keep: of ISC21 descriptors; for CLIP ViT-B/32 the paper's value is 0.96."""

    def needs(self) -> tuple[str, ...]:
        """Read the cosine."""
        return (self.score,)

    def judge(self, columns: Columns) -> Verdict:
        """Compare with the limit, in the precision of the column."""
        scores = scores_of(columns[self.score])
        rules = {
            f"{self.score} missing": ~np.isnan(scores),
            f"{self.score} above {self.threshold:g}": scores <= self.threshold,
        }
        return Verdict.of_rules(len(scores), rules)
