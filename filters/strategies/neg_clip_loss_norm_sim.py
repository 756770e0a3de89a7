"""negCLIPLoss, then NormSim: of the best pairs, the pictures most like a target set.

Source: Wang et al. 2024, CLIPLoss and norm-based data selection (arXiv 2405.19547): a cut at 30%, then at about 20% of
the pool.
"""

from typing import Self

from pydantic import Field, model_validator

from filters.choosing.compose import both
from filters.choosing.ranking import Kept, num_of
from filters.strategies.neg_clip_loss import NegClipLoss
from filters.strategies.norm_sim import NormSim
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict

__all__ = ["NegClipLossNormSim"]


class NegClipLossNormSim(Strategy):
    """Keep exactly floor(fraction * n) of n samples: those of highest NormSim in the top `first` by negCLIPLoss."""

    loss: str = "neg_clip_loss.score"
    """Column of the negative CLIP loss; higher is better."""
    score: str = "norm_sim.score"
    """Column of the norm of the similarities with the target set; higher is better."""
    first: float = Field(default=0.3, gt=0, le=1)
    """Share of the pool that negCLIPLoss keeps."""
    fraction: float = Field(default=0.2, gt=0, le=1)
    """Share of the pool that is left in the end."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.fraction > self.first:
            raise ValueError(f"`fraction` {self.fraction:g} must not exceed `first` {self.first:g}")
        return self

    def needs(self) -> tuple[str, ...]:
        """Read both scores."""
        return (self.loss, self.score)

    def fit(self, pool: Pool) -> Judge:
        """Cut the pool, then what is left of it."""
        before = NegClipLoss(score=self.loss, fraction=self.first).fit(pool)
        left, then = Kept(pool, before, (self.loss,)), NormSim(score=self.score)
        words = f"{100 * self.fraction:g}% of the pool"
        after = then.highest(left, then.fit_score(left), num_of(self.fraction, pool.num_samples), words)

        def judge(columns: Columns) -> Verdict:
            second = after(columns)
            return both(before(columns), second, second.count)

        return judge
