"""The pool scorer role: columns of the whole pool in, columns out. It sees other scorers' columns and never a picture.

A scorer (`filters.scorer`) judges a sample by itself; a pool scorer judges it beside all others: which cluster it is
in, how many pictures look like it, how well its caption fits other pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from filters.strategy import Pool
from winnow.component import Component

__all__ = ["PoolScorer", "PoolScores"]


@dataclass(frozen=True)
class PoolScores:
    """What a pool scorer found out about the n samples of a pool."""

    columns: Mapping[str, NDArray[np.generic]]
    """Column name -> (n,) values in pool order."""
    arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """Name -> array about the pool as a whole, kept as `<name>.npy` beside the columns: centroids."""


class PoolScorer(Component):
    """Compute one column family of a whole pool. The key of its config entry is the folder its columns lie in.

    The pool that it is given holds each uid once, and only samples whose inputs are all there: no null, no NaN. Its
    chunks hand out lists of numbers as one array (m, d).

    The columns are a function of the set of samples: of no order of rows and of no cut into chunks, beyond the last
    bits of floating-point sums. What needs an order takes that of uids, or of their hashes where it is to be random.
    """

    def needs(self) -> tuple[str, ...]:
        """Return the columns it reads: "meta.<column of the shard table>" or "<scorer>.<column>"."""
        raise NotImplementedError

    def identity(self) -> Mapping[str, str]:
        """Return what the columns depend on beside the fields: hashes of target sets, centroids, weights.

        It enters the key of every product and the metadata of every column file; it must not load a model.

        Raises:
            UserError: a file that it names is not there.
        """
        return {}

    def score(self, pool: Pool) -> PoolScores:
        """Return the columns of a pool of at least one sample.

        Raises:
            UserError: the pool does not fit the fields: fewer samples than clusters, another embedding size.
        """
        raise NotImplementedError
