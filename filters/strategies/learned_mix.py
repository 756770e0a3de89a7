"""A weighted sum of scores with learned weights: logistic regression of trusted pairs against the rest of the pool.

Source: FLYT's linear mix of score columns (arXiv 2503.08805) learns its weights from a downstream gradient. This one,
from labels, is ours: cheaper, and no better than the labels.
"""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from filters.choosing.logistic import fit_logistic
from filters.choosing.ranking import Computed, Score, flags_of, in_uid_order, scores_of
from filters.choosing.resampling import uniforms
from filters.choosing.score_cut import ScoreCut
from filters.strategy import Columns, Pool
from filters.subset import contains, read_subset
from winnow.inputs import InputFile, read_input

__all__ = ["LearnedMix"]


class LearnedMix(ScoreCut):
    """Keep the highest log-odds of being trusted; a pair that lacks one of the scores is never kept.

    The labels are positive for trusted pairs and negative for all others, which are good in part: the score ranks well
    all the same, as it only needs trusted pairs to be better on average. Without a trusted pair in the pool nothing
    has a score.
    """

    columns: list[str] = Field(default=["clip.similarity"], min_length=1)
    """The scores to mix."""
    trusted: InputFile | None = None
    """A subset file (.npy, DataComp's format) of uids that are trusted."""
    trusted_column: str | None = None
    """A column of booleans that says so, instead of a file."""
    ridge: float = Field(default=1e-3, gt=0)
    """Penalty on squared weights; the log loss it is added to is a mean over samples."""
    max_samples: int = Field(default=200_000, ge=1)
    """Most samples of either class to learn from, drawn by hash of uid."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.trusted is None) == (self.trusted_column is None):
            raise ValueError("give either `trusted`, a file, or `trusted_column`")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Trust what hits the target."""
        return cls(trusted_column="target_clusters.hit")

    @property
    def label(self) -> str:
        """Call the score what it is."""
        return f"learned mix of {len(self.columns)} scores"

    def needs(self) -> tuple[str, ...]:
        """Read the scores, and the label if it is a column."""
        return (*self.columns, self.trusted_column) if self.trusted_column else tuple(self.columns)

    def fit_score(self, pool: Pool) -> Score:
        """Learn the weights."""
        rows = in_uid_order(Computed(pool, "trusted", self.needs(), self._labels()), [*self.columns, "trusted"])
        rows = rows.take(~np.isnan([rows[name] for name in self.columns]).any(axis=0))
        positive = rows["trusted"] > 0
        chosen = np.concatenate([self._some(rows, group) for group in (positive, ~positive)])
        if not 0 < positive.sum() < len(positive):
            return lambda columns: np.full(columns.num_samples, np.nan)
        chosen.sort()  # in order of uid: the sums below have one order
        features = np.stack([rows[name][chosen].astype(np.float64) for name in self.columns], axis=1)
        mean, spread = features.mean(axis=0), features.std(axis=0)
        spread[spread == 0] = np.inf
        slopes, intercept = fit_logistic((features - mean) / spread, positive[chosen], self.ridge)

        def score(columns: Columns) -> NDArray[np.float64]:
            total = np.full(columns.num_samples, intercept)
            for name, slope, shift, scale in zip(self.columns, slopes, mean, spread, strict=True):
                total += slope * ((scores_of(columns[name]) - shift) / scale)
            return total

        return score

    def _labels(self) -> Callable[[Columns], NDArray[Any]]:
        """Return how to tell which rows are trusted: (n,) bool."""
        if self.trusted is not None:
            subset = read_subset(read_input(self.trusted), self.trusted)
            return lambda columns: contains(subset, columns.uids)
        name = self.trusted_column or ""  # a validator left one of the two
        return lambda columns: flags_of(columns, name)[0]

    def _some(self, rows: Columns, group: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the row numbers of a group, of at most `max_samples` of them."""
        members = np.flatnonzero(group)
        return members[np.argsort(uniforms(rows.uids[members], "learned_mix", 0), kind="stable")[: self.max_samples]]
