"""Keep the pairs whose picture and caption agree most under CLIP: the top fraction, or all above a threshold.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "CLIP score filtering"; baselines/apply_filter.py for `compat`.
"""

from filters.choosing.score_cut import ColumnCut

__all__ = ["ClipScore"]


class ClipScore(ColumnCut):
    """Keep the highest CLIP scores, the top 30% of the pool unless told otherwise."""

    score: str = "clip.similarity"
    """Column of scores; higher is better."""
