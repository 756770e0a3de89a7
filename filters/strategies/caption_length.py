"""Keep pairs whose caption is not too short: one rule of DataComp's basic filter, by itself.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "caption length".
"""

from pydantic import Field

from filters.strategy import Columns, Strategy, Verdict
from filters.text.captions import num_characters, num_words

__all__ = ["CaptionLength"]


class CaptionLength(Strategy):
    """Keep captions with enough words and characters; a missing caption has none."""

    min_words: int = Field(default=3, ge=0)
    """Fewest words between white space."""
    min_characters: int = Field(default=6, ge=0)
    """Fewest characters."""

    def needs(self) -> tuple[str, ...]:
        """Read the caption."""
        return ("meta.text",)

    def judge(self, columns: Columns) -> Verdict:
        """Count both."""
        texts = columns.arrow("meta.text")
        return Verdict.of_rules(
            columns.num_samples,
            {
                f"caption shorter than {self.min_words} words": num_words(texts) >= self.min_words,
                f"caption shorter than {self.min_characters} characters": num_characters(texts) >= self.min_characters,
            },
        )
