"""negCLIPLoss: the CLIP score, less what picture and caption have in common with any other caption and picture.

Source: Wang et al. 2024, CLIPLoss and norm-based data selection (arXiv 2405.19547); the score is the business of the
pool scorer `neg_clip_loss`.
"""

from filters.choosing.score_cut import ColumnCut

__all__ = ["NegClipLoss"]


class NegClipLoss(ColumnCut):
    """Keep the highest negative losses, the top 30% of the pool unless told otherwise."""

    score: str = "neg_clip_loss.score"
    """Column of the negative CLIP loss of each pair; higher is better."""
