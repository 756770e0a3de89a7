"""DataComp's best baseline, which made DataComp-1B: the image-based filter within the top 30% by CLIP ViT-L/14.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), `image_based_intersect_clip_score`.
"""

from pydantic import Field

from filters.choosing.compose import both
from filters.strategies.clip_score import ClipScore
from filters.strategies.image_based import ImageBased
from filters.strategy import Columns, Judge, Pool, Verdict

__all__ = ["ImageBasedClipScore"]


class ImageBasedClipScore(ImageBased):
    """Cut the pool by score first, then apply `image_based`; `compat` makes both cuts DataComp's."""

    score: str = "clip_l14.similarity"
    """Column of scores; ViT-L/14's in DataComp."""
    fraction: float = Field(default=0.3, gt=0, le=1)
    """Share of the whole pool that the score keeps."""

    def needs(self) -> tuple[str, ...]:
        """Read the score and what `image_based` reads."""
        return (self.score, *super().needs())

    def fit(self, pool: Pool) -> Judge:
        """Find the cut; the judge asks for the score first."""
        cut = ClipScore(score=self.score, fraction=self.fraction, compat=self.compat).fit(pool)

        def judge(columns: Columns) -> Verdict:
            then = self.judge(columns)
            return both(cut(columns), then, then.count)

        return judge
