"""Which words of a caption a picture shows: the one normalisation that scorers and strategies compare texts by."""

import re
import unicodedata

__all__ = ["overlap", "words"]

_WORD = re.compile(r"[^\W_]+")


def overlap(caption: str, recognised: str) -> float:
    """Return the share, in [0, 1], of the caption's distinct words that are recognised too, 0 where it has none."""
    mine = words(caption)
    return len(mine & words(recognised)) / len(mine) if mine else 0.0


def words(text: str) -> set[str]:
    """Return the distinct runs of letters and digits, without case and in composed form (NFKC)."""
    return set(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))
