"""The order of samples, a pure function of (seed, position): nothing to save, exact to resume."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Order"]


class Order:
    """An endless sequence of sample indices: one permutation of the set per pass, another one every pass.

    Position `s` is the s-th sample that training sees, counted over all ranks from 0, so step k of batches of B reads
    positions kB ... (k+1)B - 1 whatever the number of ranks, and each rank takes its own consecutive part of them.

    Copies of one sample (a subset may hold a sample several times) are spread over the pass: copy c of m lies near
    (c + u)/m of the way through, with one u from [0, 1) for the sample and pass. For m = 1 that is a uniformly random
    permutation; for m > 1 neighbouring copies are about 1/m of a pass apart, so that a batch much smaller than
    that does not hold two of them, which a contrastive loss would take for negatives of each other.
    """

    def __init__(self, identities: NDArray[Any], seed: int) -> None:
        """Store the set.

        Args:
            identities: (n,) identities of the samples, of any dtype that sorts; equal ones are copies of each other.
            seed: seed of the permutations.
        """
        self.seed = seed
        self.num_samples = len(identities)
        _, group, count = np.unique(identities, return_inverse=True, return_counts=True)
        self._group, self._num_groups, self._copies = group, len(count), count[group]
        order = np.argsort(group, kind="stable")
        starts = np.concatenate([[0], np.cumsum(count)[:-1]])
        self._copy = np.empty(self.num_samples, dtype=np.int64)
        self._copy[order] = np.arange(self.num_samples) - np.repeat(starts, count)
        self._permutation = lru_cache(maxsize=2)(self._draw)

    def indices(self, start: int, count: int) -> NDArray[np.int64]:
        """Return the sample indices at positions start ... start + count - 1, shape (count,)."""
        position = np.arange(start, start + count)
        passes = position // self.num_samples
        found = np.empty(count, dtype=np.int64)
        for one_pass in np.unique(passes):
            inside = passes == one_pass
            found[inside] = self._permutation(int(one_pass))[position[inside] % self.num_samples]
        return found

    def _draw(self, one_pass: int) -> NDArray[np.int64]:
        """Return the permutation of a pass."""
        offset = np.random.default_rng([self.seed, one_pass]).random(self._num_groups)[self._group]
        return np.argsort((self._copy + offset) / self._copies, kind="stable")
