"""DataComp's text-based filter: English captions with a word that names an ImageNet-21k synset.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "text-based filtering"; what counts as a match, the quirks of
DataComp's code included, is the business of the scorer `vocabulary`.
"""

from filters.choosing.ranking import flags_of
from filters.strategy import Columns, Strategy, Verdict
from filters.text.captions import equals

__all__ = ["TextBased"]


class TextBased(Strategy):
    """Keep captions in one language that match the vocabulary; a missing value is never kept."""

    language: str = "en"
    """The language that the caption must have; fastText's guess in DataComp."""
    language_column: str = "language.language"
    """Column of language codes; None there is no language."""
    match: str = "vocabulary.match"
    """Column of booleans: the caption names something of the vocabulary."""

    def needs(self) -> tuple[str, ...]:
        """Read language and match."""
        return (self.language_column, self.match)

    def judge(self, columns: Columns) -> Verdict:
        """Apply both rules."""
        matches, known = flags_of(columns, self.match)
        return Verdict.of_rules(
            columns.num_samples,
            {
                f"{self.language_column} is not {self.language}": equals(
                    columns.arrow(self.language_column), self.language
                ),
                f"{self.match} missing": known,
                f"{self.match} is false": matches,
            },
        )
