"""T-MARS and C-SSFT: of what T-MARS keeps, drop the pairs that fine-tuning agrees with least.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132), where it is the intersection of two lists of uids.
"""

from pydantic import Field

from filters.choosing.compose import in_sequence
from filters.strategies.c_ssft import CSSFT
from filters.strategies.tmars import TMARS
from filters.strategy import Judge, Pool

__all__ = ["TMARSCSSFT"]


class TMARSCSSFT(TMARS):
    """Keep the share of T-MARS's set with the highest C-SSFT score.

    That is the intersection with all of the pool that reaches some C-SSFT score. The sizes which the paper gives, 23M
    of 25M, fix the share of T-MARS's set and not the share of the pool.
    """

    fine_tuning: str = "clip_along.similarity"
    """Column of the mean similarity along fine-tuning."""
    share: float = Field(default=0.92, gt=0, le=1)
    """Share of T-MARS's set to keep."""

    def needs(self) -> tuple[str, ...]:
        """Read what both read."""
        return (*super().needs(), self.fine_tuning)

    def fit(self, pool: Pool) -> Judge:
        """Fit T-MARS on the pool, C-SSFT on what it keeps."""
        first = TMARS(**{name: getattr(self, name) for name in TMARS.model_fields})
        return in_sequence(pool, first, CSSFT(score=self.fine_tuning, fraction=self.share))
