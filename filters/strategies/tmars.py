"""T-MARS: keep a pair only if its picture still agrees with the caption when all text in it is masked.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132). On DataComp's pools the threshold is 0.281, the ViT-B/32
similarity that 30% of the *unmasked* pictures reach.
"""

from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from filters.choosing.ranking import nth_highest, num_of, scores_of, whole
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict

__all__ = ["TMARS"]


class TMARS(Strategy):
    """Keep masked similarity >= threshold, where the threshold is given or is the one that keeps `fraction` unmasked.

    With a fraction fewer samples remain than that: those that masking lowers below the cut are what T-MARS removes. The
    cut is the floor(fraction * n)-th highest unmasked score, `clip_score`'s own; ties with it survive. So T-MARS lies
    within `clip_score` wherever masking raises no score and none tie at the cut. A missing masked score is never kept;
    where the unmasked one lies below the cut already, as in rows that a cascade's gate stopped, that is the reason.
    """

    score: str = "masked_clip.similarity"
    """Column of the similarity after masking."""
    unmasked: str = "clip.similarity"
    """Column of the ordinary similarity of the same model; read with `fraction` alone."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the pool whose unmasked score reaches the threshold; 0.3 where no threshold is given."""
    threshold: float | None = None
    """Lowest masked similarity to keep, instead of a fraction."""

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
        """Read the masked score, and the unmasked one where the threshold comes from it."""
        return (self.score,) if self.fraction is None else (self.score, self.unmasked)

    def fit(self, pool: Pool) -> Judge:
        """Find the threshold; the judge compares the masked score with it."""
        if self.threshold is not None:
            cut, words, early = self.threshold, f"{self.score} below {self.threshold:g}", ""
        else:
            fraction = self.fraction or 0.0  # the validators leave exactly one of the two unset
            cut = nth_highest(whole(pool, self.unmasked), num_of(fraction, pool.num_samples))
            share = f"{cut:.4g} (top {100 * fraction:g}% of {self.unmasked})"
            words, early = f"{self.score} below {share}", f"{self.unmasked}, not masked, below {share}"

        def judge(columns: Columns) -> Verdict:
            masked = scores_of(columns[self.score])
            missing = np.isnan(masked)
            rules = {f"{self.score} missing": ~missing, words: masked >= cut}
            if early:
                rules = {early: ~missing | ~(scores_of(columns[self.unmasked]) < cut)} | rules
            return Verdict.of_rules(len(masked), rules)

        return judge
