"""The rule that made LAION-400M: a caption of at least 5 characters and a CLIP ViT-B/32 similarity of at least 0.30.

Source: Schuhmann et al. 2021, LAION-400M (arXiv 2111.02114). Its other rules belong to the download: files under 5 KB,
repeated pairs of URL and caption.
"""

import numpy as np
from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict
from filters.text.captions import num_characters

__all__ = ["Laion400M"]


class Laion400M(Strategy):
    """Keep captions that are not too short, in any language, whose similarity reaches a fixed threshold."""

    min_characters: int = Field(default=5, ge=0)
    """Fewest characters of the caption; a missing one has none."""
    score: str = "clip.similarity"
    """Column of similarities; the threshold is meant for cosines of OpenAI's ViT-B/32."""
    threshold: float = 0.3
    """Lowest similarity to keep."""

    def needs(self) -> tuple[str, ...]:
        """Read caption and score."""
        return ("meta.text", self.score)

    def judge(self, columns: Columns) -> Verdict:
        """Apply both rules."""
        characters, scores = num_characters(columns.arrow("meta.text")), scores_of(columns[self.score])
        return Verdict.of_rules(
            len(scores),
            {
                f"caption shorter than {self.min_characters} characters": characters >= self.min_characters,
                f"{self.score} missing": ~np.isnan(scores),
                f"{self.score} below {self.threshold:g}": scores >= self.threshold,
            },
        )
