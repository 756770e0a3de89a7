"""Soft cap sampling: draw by softmax of a score, and lower the score of whatever was drawn, so that repeats stay few.

Source: FLYT (arXiv 2503.08805), "soft cap sampling": batches of 100,000 without replacement by softmax, 0.15 off each
drawn logit, until 128M are drawn.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from filters.choosing.compose import Part
from filters.choosing.ranking import Computed, in_uid_order
from filters.choosing.resampling import drawn, uniforms
from filters.choosing.score_cut import ScoreCut
from filters.strategies.clip_score import ClipScore
from filters.strategy import Judge, Pool, Strategy
from filters.subset import hash_uids

__all__ = ["SoftCap"]


class SoftCap(Strategy):
    """Draw floor(size * n) samples of n, repeats counted, in equal batches; a missing score is never drawn.

    A batch is the highest of logit plus Gumbel noise, which is a draw without replacement by softmax; the noise of a
    batch is a function of uid, seed and the batch's number. A round costs one pass over the scores of the pool.
    """

    of: Part
    """Whose score to draw by: `clip_score`, `score_mix`, `learned_mix` or any other that ranks; its cut is not made."""
    scale: float = Field(default=1.0, gt=0)
    """The logit is the score times this: 1 for log-odds (FLYT's), 100 for the cosines of a CLIP."""
    penalty: float = Field(default=0.15, ge=0)
    """How much each draw lowers a sample's logit."""
    size: float = Field(default=1.0, gt=0)
    """How many to draw, as a share of the pool."""
    rounds: int = Field(default=1280, ge=1, le=60_000)
    """In how many batches: 1280 of 100,000 make FLYT's 128M. No sample can be drawn more often than that."""
    seed: int = 0
    """Another seed draws others."""

    @model_validator(mode="after")
    def _has_score(self) -> Self:
        if not isinstance(self.of, ScoreCut):
            raise ValueError(f"`of` must be a strategy that ranks by a score, such as clip_score, not {self.of!r}")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Ten batches by CLIP score."""
        return cls(of=ClipScore(), scale=100, rounds=10)

    def needs(self) -> tuple[str, ...]:
        """Read what the score reads."""
        return self.of.needs()

    def fit(self, pool: Pool) -> Judge:
        """Draw batch after batch."""
        assert isinstance(self.of, ScoreCut)
        score = self.of.fit_score(pool)
        rows = in_uid_order(Computed(pool, "score", self.needs(), score), ["score"])
        rows = rows.take(~np.isnan(rows["score"]))
        logits, tie = rows["score"] * self.scale, hash_uids(rows.uids)
        count = np.zeros(rows.num_samples, np.int64)
        # with the batches' ends at equal steps they are as equal as whole numbers can be
        ends = np.arange(1, self.rounds + 1) * int(self.size * pool.num_samples + 1e-9) // self.rounds
        for number, batch in enumerate(np.diff(ends, prepend=0)):
            if batch == 0 or len(logits) == 0:
                continue
            lot = uniforms(rows.uids, "soft_cap", self.seed, number) + 2.0**-54  # never 0
            count[_highest(logits - self.penalty * count - np.log(-np.log(lot)), batch, tie)] += 1
        return drawn(rows.uids, count, "not drawn, or no score")


def _highest(keys: NDArray[np.float64], number: int, tie: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the rows of the `number` highest keys, all of them if there are fewer; of equal keys the lower `tie`."""
    if number >= len(keys):
        return np.arange(len(keys))
    cut = np.partition(keys, len(keys) - number)[len(keys) - number]
    above, at = np.flatnonzero(keys > cut), np.flatnonzero(keys == cut)
    return np.concatenate([above, at[np.argsort(tie[at], kind="stable")[: number - len(above)]]])
