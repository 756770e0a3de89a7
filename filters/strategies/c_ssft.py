"""C-SSFT: drop the pairs that a CLIP, fine-tuned on clean captions, agrees with least along the way.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132), after second-split forgetting (Maini et al. 2022). Neither code
nor a share of a pool is published: 0.92 is what the sizes of "T-MARS and C-SSFT" imply of T-MARS's own set (23M of
25M).
"""

from typing import ClassVar

from filters.choosing.score_cut import ColumnCut

__all__ = ["CSSFT"]


class CSSFT(ColumnCut):
    """Keep the highest similarities, averaged over the checkpoints of a fine-tuning; 92% of the pool by default."""

    default_fraction: ClassVar[float] = 0.92

    score: str = "clip_along.similarity"
    """Column of the mean similarity along fine-tuning."""
