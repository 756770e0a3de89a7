"""SIEVE: keep the pairs whose caption says what a captioner says of the picture.

Source: Mahmoud et al. 2023, SIEVE (arXiv 2310.02110); the score is the business of the scorer `caption_similarity`.
"""

from typing import ClassVar

from filters.choosing.score_cut import ColumnCut

__all__ = ["Sieve"]


class Sieve(ColumnCut):
    """Keep the highest caption similarities, the top 20% of the pool unless told otherwise."""

    default_fraction: ClassVar[float] = 0.2

    score: str = "caption_similarity.similarity"
    """Column of the highest cosine of the caption with one of the captioner's, as sentences."""
