"""English captions that the picture does not spell out.

Source: ours. DataComp's leaderboard has a row "OCR and naive English filtering" without paper or code; this is what its
name says, made of known rules.
"""

import numpy as np
from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict
from filters.text.captions import equals

__all__ = ["OCREnglish"]


class OCREnglish(Strategy):
    """Keep captions in one language of which less than a share is recognised in the picture; missing is never kept."""

    language: str = "en"
    """The language that the caption must have."""
    language_column: str = "language.language"
    """Column of language codes; None there is no language."""
    overlap: str = "ocr.overlap"
    """Column of the share of the caption's distinct words that were recognised in the picture."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """Smallest share that is too much."""

    def needs(self) -> tuple[str, ...]:
        """Read language and overlap."""
        return (self.language_column, self.overlap)

    def judge(self, columns: Columns) -> Verdict:
        """Apply both rules."""
        overlap = scores_of(columns[self.overlap])
        return Verdict.of_rules(
            columns.num_samples,
            {
                f"{self.language_column} is not {self.language}": equals(
                    columns.arrow(self.language_column), self.language
                ),
                f"{self.overlap} missing": ~np.isnan(overlap),
                f"picture shows {100 * self.threshold:g}% or more of the caption": overlap < self.threshold,
            },
        )
