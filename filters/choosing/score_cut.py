"""Strategies that keep the highest of one number a row: the top fraction of the pool, or all above a threshold."""

from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from filters.choosing.ranking import Computed, Score, datacomp_threshold, num_of, scores_of, top, whole
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict

__all__ = ["ColumnCut", "ScoreCut"]


class ScoreCut(Strategy):
    """Keep exactly floor(fraction * n) of n samples, or every score >= threshold; a subclass says what the score is.

    Ties at the cut of a fraction are told apart by a hash of the uid.
    A missing score (None, NaN) is never kept. It counts in n: a top 30% has the size of a random 30%.
    """

    default_fraction: ClassVar[float] = 0.3
    """The fraction where the config gives neither fraction nor threshold."""

    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the pool to keep."""
    threshold: float | None = None
    """Lowest score to keep, instead of a fraction."""
    compat: bool = False
    """DataComp's own rule for a fraction, to reproduce its subsets: n + 1 samples and all that tie survive."""

    @model_validator(mode="before")
    @classmethod
    def _default_fraction(cls, data: Any) -> Any:
        bare = isinstance(data, dict) and data.get("fraction") is None and data.get("threshold") is None
        return data | {"fraction": cls.default_fraction} if bare else data

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.fraction is not None and self.threshold is not None:
            raise ValueError("give either `fraction` or `threshold`")
        return self

    @property
    def label(self) -> str:
        """What reasons call the score."""
        raise NotImplementedError

    def fit_score(self, pool: Pool) -> Score:
        """Look at the pool and return the score of its rows; it reads the columns of `needs`."""
        raise NotImplementedError

    def fit(self, pool: Pool) -> Judge:
        """Find the cut."""
        score = self.fit_score(pool)
        if self.threshold is not None:
            return self._above(score, self.threshold, f"{self.label} below {self.threshold:g}")
        fraction = self.fraction or 0.0  # the validators leave exactly one of the two unset
        if self.compat:
            limit = datacomp_threshold(whole(Computed(pool, "score", self.needs(), score), "score"), fraction)
            words = f"{self.label} below {limit:.4g} (top {100 * fraction:g}%, DataComp's rule)"
            return self._above(score, limit, words)
        return self.highest(pool, score, num_of(fraction, pool.num_samples), f"top {100 * fraction:g}%")

    def highest(self, pool: Pool, score: Score, num_kept: int, words: str) -> Judge:
        """Return the judge that keeps exactly the `num_kept` highest scores; `words` says what share that is."""
        cut = top(Computed(pool, "score", self.needs(), score), "score", num_kept)

        def judge(columns: Columns) -> Verdict:
            scores = score(columns)
            keep = cut.keeps(scores, columns.uids)
            rules = {
                f"{self.label} missing": ~np.isnan(scores),
                f"{self.label} below {cut.score:.4g} ({words})": keep | (scores == cut.score),
                f"{self.label} ties with the cut {cut.score:.4g} ({words})": keep,
            }
            return Verdict.of_rules(len(scores), rules)

        return judge

    def _above(self, score: Score, limit: float, words: str) -> Judge:
        """Return the judge that keeps scores >= limit."""

        def judge(columns: Columns) -> Verdict:
            scores = score(columns)
            rules = {f"{self.label} missing": ~np.isnan(scores), words: scores >= limit}
            return Verdict.of_rules(len(scores), rules)

        return judge


class ColumnCut(ScoreCut):
    """A cut by a column as it stands."""

    score: str = "clip.similarity"
    """Column of scores; higher is better."""

    @property
    def label(self) -> str:
        """Call the score by its column."""
        return self.score

    def needs(self) -> tuple[str, ...]:
        """Read the score."""
        return (self.score,)

    def fit_score(self, pool: Pool) -> Score:
        """Take the column."""
        return lambda columns: scores_of(columns[self.score])
