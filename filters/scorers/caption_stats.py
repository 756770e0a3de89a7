"""Simple counts of the caption, as DataComp's basic filter and common text heuristics use them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from filters.scorer import Batch, Scorer

__all__ = ["CaptionStats"]


class CaptionStats(Scorer):
    """Columns `num_chars`, `num_words` (int32) and shares (float32).

    The shares are `alpha_share`, `digit_share`, `upper_share` (of characters) and `unique_word_share` (of words),
    0 where there are none. Words are what whitespace separates.
    """

    wants_images: ClassVar[bool] = False

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Count."""
        words = [caption.split() for caption in batch.captions]
        return {
            "num_chars": np.array([len(caption) for caption in batch.captions], np.int32),
            "num_words": np.array([len(w) for w in words], np.int32),
            "alpha_share": _shares(batch.captions, str.isalpha),
            "digit_share": _shares(batch.captions, str.isdigit),
            "upper_share": _shares(batch.captions, str.isupper),
            "unique_word_share": np.array([len(set(w)) / max(len(w), 1) for w in words], np.float32),
        }


def _shares(texts: list[str], predicate: Any) -> Any:
    """Return the (n,) float32 share of characters for which `predicate` holds."""
    return np.array([sum(map(predicate, text)) / max(len(text), 1) for text in texts], np.float32)
