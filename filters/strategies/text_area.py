"""Drop pairs whose picture is mostly text, whatever the text says: needs detected boxes, no recognition."""

import numpy as np
from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["TextArea"]


class TextArea(Strategy):
    """Drop a pair if text covers at least `threshold` of its picture, or if that share is missing."""

    area: str = "text_boxes.area_share"
    """Column of the share of the picture that text boxes cover, in [0, 1]."""
    threshold: float = Field(default=0.2, gt=0, le=1)
    """Smallest share that counts as too much."""

    def needs(self) -> tuple[str, ...]:
        """Read the share of text."""
        return (self.area,)

    def judge(self, columns: Columns) -> Verdict:
        """Compare with the limit."""
        area = scores_of(columns[self.area])
        return Verdict.of_rules(
            len(area),
            {
                f"{self.area} missing": ~np.isnan(area),
                f"text covers {100 * self.threshold:g}% or more of the picture": area < self.threshold,
            },
        )
