"""DataComp's basic filter: English, three words, six characters, 200 pixels, no banner.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "basic filtering"; limits as in its code, where 200 px and a
ratio of 3.0 pass.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict
from filters.text.captions import equals, num_characters, num_words

__all__ = ["Basic"]


class Basic(Strategy):
    """Keep pairs with a plausible English caption and a picture of useful size and shape.

    A missing caption fails the word rule; a missing, zero or negative size has a reason of its own. Sizes are those
    of the original picture, before the download resized it.
    """

    language: str = "en"
    """The language that the caption must have."""
    language_column: str = "language.language"
    """Column of language codes; None there is no language."""
    min_words: int = Field(default=3, ge=0)
    """Fewest words between white space."""
    min_characters: int = Field(default=6, ge=0)
    """Fewest characters."""
    min_side: int = Field(default=200, ge=0)
    """Smallest shorter side in pixels; that size passes."""
    max_aspect_ratio: float = Field(default=3.0, ge=1)
    """Largest ratio of the longer to the shorter side; that ratio passes."""

    def needs(self) -> tuple[str, ...]:
        """Read language, caption and original size."""
        return (self.language_column, "meta.text", "meta.original_width", "meta.original_height")

    def judge(self, columns: Columns) -> Verdict:
        """Apply the rules in DataComp's order."""
        speaks = equals(columns.arrow(self.language_column), self.language)
        # captions in other languages need not be counted
        texts = columns.arrow("meta.text").filter(pa.array(speaks))
        words, characters = np.zeros((2, columns.num_samples), np.int64)
        words[speaks], characters[speaks] = num_words(texts), num_characters(texts)
        shorter, longer = _sides(columns["meta.original_width"], columns["meta.original_height"])
        known = shorter > 0  # False for NaN
        return Verdict.of_rules(
            columns.num_samples,
            {
                f"{self.language_column} is not {self.language}": speaks,
                f"caption shorter than {self.min_words} words": words >= self.min_words,
                f"caption shorter than {self.min_characters} characters": characters >= self.min_characters,
                "original size unknown": known,
                f"shorter side under {self.min_side} px": shorter >= self.min_side,
                f"sides differ more than {self.max_aspect_ratio:g}:1": longer
                <= self.max_aspect_ratio * np.where(known, shorter, 1),
            },
        )


def _sides(width: NDArray[Any], height: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (n,) shorter and longer sides, NaN where one is missing."""
    both = np.stack([scores_of(width), scores_of(height)])
    return both.min(axis=0), both.max(axis=0)
