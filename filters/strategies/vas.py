"""VAS, variance alignment: keep the pictures along whose directions a target set varies most; NormSim with p = 2.

Source: Wang et al. 2024, Variance alignment score (arXiv 2402.02055); the score is the pool scorer `norm_sim` with p
= 2.
"""

from typing import ClassVar

from filters.choosing.score_cut import ColumnCut

__all__ = ["VAS"]


class VAS(ColumnCut):
    """Keep the highest alignment scores, the top 20% of the pool as `norm_sim` does, which superseded it."""

    default_fraction: ClassVar[float] = 0.2

    score: str = "vas.score"
    """Column of the scores: `vas: {use: norm_sim, p: 2}` among the pool scorers makes it."""
