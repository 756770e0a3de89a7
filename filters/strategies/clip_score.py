"""Keep the pairs whose picture and caption agree most under CLIP: the top fraction, or all above a threshold.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), "CLIP score filtering"; baselines/apply_filter.py for `compat`.
"""

from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from filters.ranking import datacomp_threshold, num_of, scores_of, top, whole
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict

__all__ = ["ClipScore"]


class ClipScore(Strategy):
    """Keep exactly floor(fraction * n) of n samples, or every score >= threshold.

    Ties at the cut of a fraction are told apart by a hash of the uid.
    A missing score (None, NaN) is never kept. It counts in n: a top 30% has the size of a random 30%.
    """

    score: str = "clip.similarity"
    """Column of scores; higher is better."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the pool to keep; 0.3 where no threshold is given."""
    threshold: float | None = None
    """Lowest score to keep, instead of a fraction."""
    compat: bool = False
    """DataComp's own rule for a fraction, to reproduce its subsets: n + 1 samples and all that tie survive."""

    @model_validator(mode="before")
    @classmethod
    def _default_fraction(cls, data: Any) -> Any:
        bare = isinstance(data, dict) and data.get("fraction") is None and data.get("threshold") is None
        return data | {"fraction": 0.3} if bare else data

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.fraction is not None and self.threshold is not None:
            raise ValueError("give either `fraction` or `threshold`")
        return self

    def needs(self) -> tuple[str, ...]:
        """Read the score."""
        return (self.score,)

    def fit(self, pool: Pool) -> Judge:
        """Find the cut."""
        if self.threshold is not None:
            return self._above(self.threshold, f"{self.score} below {self.threshold:g}")
        fraction = self.fraction or 0.0  # the validators leave exactly one of the two unset
        top_share = f"(top {100 * fraction:g}%"
        if self.compat:
            limit = datacomp_threshold(whole(pool, self.score), fraction)
            return self._above(limit, f"{self.score} below {limit:.4g} {top_share}, DataComp's rule)")
        cut = top(pool, self.score, num_of(fraction, pool.num_samples))

        def judge(columns: Columns) -> Verdict:
            scores = scores_of(columns[self.score])
            keep = cut.keeps(scores, columns.uids)
            rules = {
                f"{self.score} missing": ~np.isnan(scores),
                f"{self.score} below {cut.score:.4g} {top_share})": keep | (scores == cut.score),
                f"{self.score} ties with the cut {cut.score:.4g} {top_share})": keep,
            }
            return Verdict.of_rules(len(scores), rules)

        return judge

    def _above(self, limit: float, words: str) -> Judge:
        """Return the judge that keeps scores >= limit."""

        def judge(columns: Columns) -> Verdict:
            scores = scores_of(columns[self.score])
            rules = {f"{self.score} missing": ~np.isnan(scores), words: scores >= limit}
            return Verdict.of_rules(len(scores), rules)

        return judge
