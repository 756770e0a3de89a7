"""T-MARS and C-RHO: of what T-MARS keeps, the pairs that clean data teaches more than the pool does.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132), where it is the intersection of two lists of uids.
"""

from pydantic import Field

from filters.choosing.compose import in_sequence
from filters.strategies.c_rho import CRHO
from filters.strategies.tmars import TMARS
from filters.strategy import Judge, Pool

__all__ = ["TMARSCRHO"]


class TMARSCRHO(TMARS):
    """Keep the share of T-MARS's set with the highest C-RHO score.

    That is the intersection with all of the pool that reaches some C-RHO score. The sizes which the paper gives, 15M
    of 25M, fix the share of T-MARS's set and not the share of the pool.
    """

    heldout: str = "clip_heldout.similarity"
    """Column of similarities under the model that was trained on clean data."""
    trained: str = "clip_pool.similarity"
    """Column of similarities under the model that was trained on the pool."""
    share: float = Field(default=0.6, gt=0, le=1)
    """Share of T-MARS's set to keep."""

    def needs(self) -> tuple[str, ...]:
        """Read what both read."""
        return (*super().needs(), self.heldout, self.trained)

    def fit(self, pool: Pool) -> Judge:
        """Fit T-MARS on the pool, C-RHO on what it keeps."""
        first = TMARS(**{name: getattr(self, name) for name in TMARS.model_fields})
        return in_sequence(pool, first, CRHO(heldout=self.heldout, trained=self.trained, fraction=self.share))
