"""Numbers that are none never become a metric: what is measured on is checked, and what is wrong is named."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from winnow.errors import UserError

__all__ = ["NotFiniteError", "require_finite"]

SHOWN = 3


class NotFiniteError(UserError):
    """Embeddings, pictures or features hold NaN or infinity: there is nothing to measure."""


def require_finite(values: NDArray[np.floating], keys: Sequence[object], what: str) -> None:
    """Refuse (n, ...) values of which any is NaN or infinite.

    Args:
        values: row i belongs to key i.
        keys: n names, to say which.
        what: what the rows are, "embeddings of pictures".

    Raises:
        NotFiniteError: with the number of such rows and the first keys.
    """
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(bad):
        names = ", ".join(str(keys[row]) for row in bad[:SHOWN]) + (", ..." if len(bad) > SHOWN else "")
        raise NotFiniteError(
            f"{len(bad):,} of {len(values):,} {what} hold NaN or infinity ({names}): no metric is computed from them; "
            "the model has diverged or its weights are damaged"
        )
