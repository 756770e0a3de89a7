"""The rule that made LAION-2B-en: English, and a CLIP ViT-B/32 similarity of at least 0.28.

Source: Schuhmann et al. 2022, LAION-5B (arXiv 2210.08402); DataComp's `laion2b` baseline, which takes CLD3's top guess
without a look at its confidence.
"""

import numpy as np

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict
from filters.text.captions import equals

__all__ = ["Laion2B"]


class Laion2B(Strategy):
    """Keep pairs in one language whose similarity reaches a fixed threshold; a missing value is never kept."""

    language: str = "en"
    """The language that the caption must have."""
    language_column: str = "cld3.language"
    """Column of language codes, "language.language" for fastText's; None there is no language."""
    score: str = "clip.similarity"
    """Column of similarities; the threshold is meant for cosines of OpenAI's ViT-B/32."""
    threshold: float = 0.28
    """Lowest similarity to keep."""

    def needs(self) -> tuple[str, ...]:
        """Read language and score."""
        return (self.language_column, self.score)

    def judge(self, columns: Columns) -> Verdict:
        """Apply both rules."""
        scores = scores_of(columns[self.score])
        return Verdict.of_rules(
            len(scores),
            {
                f"{self.language_column} is not {self.language}": equals(
                    columns.arrow(self.language_column), self.language
                ),
                f"{self.score} missing": ~np.isnan(scores),
                f"{self.score} below {self.threshold:g}": scores >= self.threshold,
            },
        )
