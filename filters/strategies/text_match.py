"""Drop pairs whose picture shows its own caption: the simple baseline that T-MARS improves on.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132), "text match"; it gives no overlap rule, so this one is ours.
"""

import numpy as np
from pydantic import Field

from filters.strategy import Columns, Strategy, Verdict
from filters.text.wordmatch import overlap

__all__ = ["TextMatch"]


class TextMatch(Strategy):
    """Drop a pair if at least `threshold` of the caption's distinct words are among those recognised in its picture.

    Words are compared without case, accents of composition (NFKC) or punctuation. No recognised text ("") or a caption
    without words overlaps with nothing and is kept; a missing recognition (None: the scorer failed) is dropped.
    """

    text: str = "ocr.text"
    """Column of the text recognised in the picture."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """Smallest share of the caption's words that counts as an overlap."""

    def needs(self) -> tuple[str, ...]:
        """Read caption and recognised text."""
        return ("meta.text", self.text)

    def judge(self, columns: Columns) -> Verdict:
        """Compare the two texts of every pair that has recognised text."""
        recognised = columns[self.text]
        present = np.array([isinstance(text, str) for text in recognised], dtype=bool)
        captions, shares = columns["meta.text"], np.zeros(len(recognised))
        for row in np.flatnonzero(present):
            if recognised[row]:
                shares[row] = overlap(captions[row] or "", recognised[row])
        return Verdict.of_rules(
            len(recognised),
            {
                f"{self.text} missing": present,
                f"{self.text} shows {100 * self.threshold:g}% or more of the caption": shares < self.threshold,
            },
        )
