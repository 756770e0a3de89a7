"""Keep pairs whose caption is in English, or in another language: one rule of most filters, by itself.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), the rows "English" of its tables of baselines.
"""

from pydantic import Field

from filters.choosing.ranking import scores_of
from filters.strategy import Columns, Strategy, Verdict
from filters.text.captions import equals

__all__ = ["English"]


class English(Strategy):
    """Keep captions in one language, of which the detector is sure enough; DataComp's rules ask for no certainty."""

    language: str = "en"
    """The language that the caption must have."""
    language_column: str = "language.language"
    """Column of language codes; None there is no language."""
    confidence: str = "language.confidence"
    """Column of the detector's confidence, read where a least one is asked for."""
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    """Lowest confidence to keep; a missing one is too low."""

    def needs(self) -> tuple[str, ...]:
        """Read the language, and the confidence if it matters."""
        return (self.language_column,) if self.min_confidence is None else (self.language_column, self.confidence)

    def judge(self, columns: Columns) -> Verdict:
        """Compare with what is asked for."""
        spoken = equals(columns.arrow(self.language_column), self.language)
        rules = {f"{self.language_column} is not {self.language}": spoken}
        if self.min_confidence is not None:
            sure = scores_of(columns[self.confidence]) >= self.min_confidence
            rules[f"{self.confidence} below {self.min_confidence:g}"] = sure
        return Verdict.of_rules(columns.num_samples, rules)
