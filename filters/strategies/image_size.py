"""Keep pairs whose picture is neither tiny nor a banner: one rule of DataComp's basic filter, by itself.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "image size".
"""

import numpy as np
from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict

__all__ = ["ImageSize"]


class ImageSize(Strategy):
    """Keep pictures by the size they had before the download shrank them; a missing or zero size is not kept."""

    min_side: int = Field(default=200, ge=0)
    """Smallest shorter side in pixels; that size passes."""
    max_aspect_ratio: float = Field(default=3.0, ge=1)
    """Largest ratio of the longer to the shorter side; that ratio passes."""

    def needs(self) -> tuple[str, ...]:
        """Read the original size."""
        return ("meta.original_width", "meta.original_height")

    def judge(self, columns: Columns) -> Verdict:
        """Compare the sides."""
        sides = np.stack([scores_of(columns[name]) for name in self.needs()])
        shorter, longer = sides.min(axis=0), sides.max(axis=0)  # NaN where either is missing
        known = shorter > 0
        return Verdict.of_rules(
            columns.num_samples,
            {
                "original size unknown": known,
                f"shorter side under {self.min_side} px": shorter >= self.min_side,
                f"sides differ more than {self.max_aspect_ratio:g}:1": longer
                <= self.max_aspect_ratio * np.where(known, shorter, 1),
            },
        )
