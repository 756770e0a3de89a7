"""A cascade's gate: an expensive scorer looks only at the rows that a cheaper one has not ruled out yet."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

__all__ = ["Gate"]


class Gate(BaseModel):
    """Let a row pass if its CLIP similarity reaches a bound.

    The bound belongs to a strategy that keeps nothing below it, masked or not; a bound on the safe side of the
    strategy's own threshold leaves room for the pairs that masking lifts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip: str = "clip"
    """Key of the clip scorer."""
    min_similarity: float
    """Lowest similarity that passes."""

    def passes(self, columns: dict[str, Any]) -> NDArray[np.bool_]:
        """Return (n,) which rows of a batch pass; a missing similarity does not.

        Args:
            columns: a batch's columns of the scorers it needs, "scorer.column" -> n values.
        """
        return np.asarray(np.asarray(columns[f"{self.clip}.similarity"], np.float32) >= self.min_similarity)
