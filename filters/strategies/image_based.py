"""DataComp's image-based filter: a plausible English caption, and a picture whose cluster holds ImageNet pictures.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "image-based filtering", with the caption rule of its code,
which asks for 2 words where `basic` asks for 3. `compat` counts words as fastText's tokeniser does (fasttext,
dictionary.cc).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from filters.choosing.ranking import flags_of
from filters.strategy import Columns, Strategy, Verdict
from filters.text.captions import equals, num_characters, num_words

__all__ = ["ImageBased"]

_FASTTEXT_TOKENS = r"[^ \n\r\t\v\f\x00]+|\n"
"""ASCII white space and NUL separate, no other white space does, and each end of a line is a token of its own."""


class ImageBased(Strategy):
    """Keep pairs that pass the caption rule and hit a cluster of the target set; a missing value is never kept."""

    language: str = "en"
    """The language that the caption must have; fastText's guess in DataComp."""
    language_column: str = "language.language"
    """Column of language codes; None there is no language."""
    min_words: int = Field(default=2, ge=0)
    """Fewest words between white space."""
    min_characters: int = Field(default=6, ge=0)
    """Fewest characters."""
    hit: str = "target_clusters.hit"
    """Column of booleans: the picture's cluster is the nearest of some target picture."""
    compat: bool = False
    """Count words as DataComp's code does: fastText's tokens, of which a line break is one."""

    def needs(self) -> tuple[str, ...]:
        """Read language, caption and hit."""
        return (self.language_column, "meta.text", self.hit)

    def judge(self, columns: Columns) -> Verdict:
        """Apply the rules in DataComp's order."""
        texts = columns.arrow("meta.text")
        words = _fasttext_tokens(texts) if self.compat else num_words(texts)
        hits, known = flags_of(columns, self.hit)
        return Verdict.of_rules(
            columns.num_samples,
            {
                f"{self.language_column} is not {self.language}": equals(
                    columns.arrow(self.language_column), self.language
                ),
                f"caption shorter than {self.min_words} words": words >= self.min_words,
                f"caption shorter than {self.min_characters} characters": num_characters(texts) >= self.min_characters,
                f"{self.hit} missing": known,
                f"{self.hit} is false": hits,
            },
        )


def _fasttext_tokens(texts: pa.Array) -> NDArray[np.int64]:
    """Return (n,) how many tokens fastText finds in each text, 0 where it is missing."""
    counts = pc.count_substring_regex(texts.cast(pa.large_string()), _FASTTEXT_TOKENS)
    return counts.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]
