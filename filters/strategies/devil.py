"""The Devil Is in the Details: rules on each modality, flipped CLIP score, and alignment with a target distribution.

Source: Yu et al. 2023 (arXiv 2309.15954), DataComp's leaderboard entry. Public are its three stages and their parts:
rules on caption and picture; CLIP score on the mirrored picture, in which text cannot be read; and cluster-importance
resampling, quality reweighting, semantic deduplication and a boost for digits. Code, numbers and formulas are not:
those are ours.
"""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from filters.choosing.compose import Part, both, in_sequence, needs_of
from filters.choosing.normalise import normaliser
from filters.choosing.ranking import Computed, Kept, in_uid_order
from filters.choosing.resampling import drawn, expected_counts, round_counts
from filters.strategies.basic import Basic
from filters.strategies.clip_score import ClipScore
from filters.strategies.semdedup import SemDeDup
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict
from winnow.errors import UserError
from winnow.inputs import InputFile, read_input

__all__ = ["Devil"]


class Devil(Strategy):
    """Filter by rules, then by flipped score, then drop semantic duplicates, then draw what is left by weight.

    The weight of a sample is the product of the target's share of its cluster over the share of what is left, of
    1 + quality * (2 * rank - 1) by the rank of its flipped score, and of `digit_boost` if its caption has a digit.
    Counts are whole numbers with the weights' means, at most `max_repeats`.
    """

    rules: Part = Field(default_factory=Basic)
    """Stage 1: a strategy that looks at caption and picture apart."""
    flipped: str = "clip_flipped.similarity"
    """Stage 2: column of the similarity of the caption with the mirrored picture."""
    fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of what the rules leave that its flipped score keeps."""
    duplicates: str = "semantic_duplicates.similarity"
    """Stage 3: column of the highest cosine with an earlier item of the cluster."""
    epsilon: float = Field(default=0.05, ge=0, le=2)
    """How far from all earlier ones a picture must be, as 1 - cosine."""
    clusters: str = "clusters.id"
    """Column of cluster numbers."""
    target: InputFile | None = None
    """A .npy file of (k,) numbers >= 0: the target set's samples in each cluster. Without it clusters count alike."""
    quality: float = Field(default=0.5, ge=0, le=1)
    """How far a better score raises a sample's weight: 0 not at all, 1 from 0 for the worst to 2 for the best."""
    digits: str = "meta.text"
    """Column of text, caption or recognised ("ocr.text"), in which a digit counts."""
    digit_boost: float = Field(default=2.0, ge=1)
    """By how much a digit raises a sample's weight."""
    size: float = Field(default=1.0, gt=0)
    """How many samples to draw, repeats counted, as a share of what deduplication leaves."""
    max_repeats: int = Field(default=10, ge=1, le=60_000)
    """Most copies of a sample."""
    seed: int = 0
    """Another seed draws others."""

    def needs(self) -> tuple[str, ...]:
        """Read what the three stages read."""
        aligned = (self.flipped, self.duplicates, self.clusters, self.digits)
        return tuple(dict.fromkeys((*needs_of([self.rules]), *aligned)))

    def fit(self, pool: Pool) -> Judge:
        """Fit the filters, then draw."""
        parts = (
            self.rules,
            ClipScore(score=self.flipped, fraction=self.fraction),
            SemDeDup(similarity=self.duplicates, epsilon=self.epsilon),
        )
        filters = in_sequence(pool, *parts)
        rows = self._rows(Kept(pool, filters, needs_of(parts)))
        weights = self._weights(rows)
        expected = expected_counts(weights, self.size * rows.num_samples, self.max_repeats)
        count = round_counts(expected, rows.uids, "devil", self.seed)
        draw = drawn(rows.uids, count, "not drawn: its cluster, score and caption weigh little")

        def judge(columns: Columns) -> Verdict:
            then = draw(columns)
            return both(filters(columns), then, then.count)

        return judge

    def _rows(self, left: Pool) -> Columns:
        """Return cluster, score and digit flag of what is left, in order of uid."""
        flagged = Computed(left, "digit", (self.digits,), self._has_digit)
        rows = in_uid_order(flagged, [self.clusters, self.flipped, "digit"])
        return rows.take(~np.isnan(rows[self.clusters]))

    def _weights(self, rows: Columns) -> NDArray[np.float64]:
        """Return (n,) how much more often than others each row is to be drawn."""
        clusters, which, sizes = np.unique(rows[self.clusters], return_inverse=True, return_counts=True)
        aim = np.ones(len(clusters))
        if self.target is not None:
            counts = _read_target(self.target)
            if len(clusters) and not 0 <= clusters[-1] < len(counts):
                raise UserError(
                    f"{self.target!r} has {len(counts)} clusters, but {self.clusters} goes to {clusters[-1]:g}"
                )
            aim = counts[clusters.astype(np.int64)]
        ranks = normaliser(rows[self.flipped], "rank")(rows[self.flipped])
        digit = np.where(rows["digit"] > 0, self.digit_boost, 1.0)
        return (aim / sizes)[which] * (1 + self.quality * (2 * ranks - 1)) * digit

    def _has_digit(self, columns: Columns) -> NDArray[np.bool_]:
        """Mark the texts with a digit 0 to 9."""
        texts = columns.arrow(self.digits).cast(pa.large_string())
        found = pc.match_substring_regex(texts, "[0-9]").fill_null(False)
        return found.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _read_target(path: str) -> NDArray[np.float64]:
    """Read (k,) numbers of target samples per cluster.

    Raises:
        UserError: no such array.
    """
    try:
        counts: NDArray[Any] = np.load(io.BytesIO(read_input(path)))
    except ValueError as error:
        raise UserError(f"{path!r} is no .npy file of numbers: {error}") from None
    if counts.ndim != 1 or counts.dtype.kind not in "iuf" or not (counts >= 0).all():
        raise UserError(f"{path!r} must hold (k,) numbers >= 0, one a cluster, not {counts.dtype} {counts.shape}")
    return counts.astype(np.float64)
