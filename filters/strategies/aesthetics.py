"""LAION's aesthetic subsets: pictures that people would like, without watermarks, safe to show.

Source: Schuhmann et al. 2022, LAION-5B (arXiv 2210.08402) and LAION-Aesthetics: the common recipe is a predicted rating
above 5, a probability of a watermark below 0.8 and of unsafe content below 0.5. The three scorers have these columns.
"""

from typing import Any

import numpy as np
from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["Aesthetics"]


class Aesthetics(Strategy):
    """Keep pairs within three limits, each of which null turns off; a missing value is never kept."""

    min_aesthetic: float | None = 5.0
    """The rating, about 1 to 10, must be higher."""
    max_watermark: float | None = Field(default=0.8, ge=0, le=1)
    """The probability of a watermark must be lower."""
    max_nsfw: float | None = Field(default=0.5, ge=0, le=1)
    """The probability of unsafe content must be lower."""
    aesthetic: str = "aesthetic.score"
    """Column of ratings."""
    watermark: str = "watermark.score"
    """Column of probabilities of a watermark."""
    nsfw: str = "nsfw.score"
    """Column of probabilities of unsafe content."""

    def needs(self) -> tuple[str, ...]:
        """Read the scores that have a limit."""
        limits = {
            self.aesthetic: self.min_aesthetic,
            self.watermark: self.max_watermark,
            self.nsfw: self.max_nsfw,
        }
        return tuple(name for name, limit in limits.items() if limit is not None)

    def judge(self, columns: Columns) -> Verdict:
        """Compare with each limit."""
        scores = {name: scores_of(columns[name]) for name in self.needs()}
        rules: dict[str, Any] = {f"{name} missing": ~np.isnan(values) for name, values in scores.items()}
        if self.min_aesthetic is not None:
            liked = scores[self.aesthetic] > self.min_aesthetic
            rules[f"{self.aesthetic} not above {self.min_aesthetic:g}"] = liked
        for name, limit in ((self.watermark, self.max_watermark), (self.nsfw, self.max_nsfw)):
            if limit is not None:
                rules[f"{name} not below {limit:g}"] = scores[name] < limit
        return Verdict.of_rules(columns.num_samples, rules)
