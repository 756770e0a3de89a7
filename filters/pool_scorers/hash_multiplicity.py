"""How often the same picture file came from different addresses: placeholders and "image not available" pictures.

A server that has lost a picture often answers with another one; thousands of pairs then share its bytes.
"""

import numpy as np
import pyarrow.compute as pc

from filters.pool_scorer import PoolScorer, PoolScores
from filters.strategy import Pool
from filters.subset import argsort_uids
from winnow.errors import UserError
from winnow.uid import from_hex

__all__ = ["HashMultiplicity"]

NUM_CHARS = 32
"""Characters that are compared: no two files of any pool share the first 128 bits of a sha256 by chance."""


class HashMultiplicity(PoolScorer):
    """Column `count` (int32): samples of the pool, this one included, whose original bytes have the same hash."""

    hash: str = "meta.sha256"
    """Column of hashes in hexadecimal: sha256, sha512 or md5."""

    def needs(self) -> tuple[str, ...]:
        """Read the hashes."""
        return (self.hash,)

    def score(self, pool: Pool) -> PoolScores:
        """Count. 16 bytes a sample are in memory."""
        parts = []
        for columns in pool.chunks([self.hash]):
            starts = pc.utf8_slice_codeunits(columns.arrow(self.hash), 0, NUM_CHARS).to_pylist()
            try:
                parts.append(from_hex(starts))
            except ValueError as error:
                raise UserError(f"{self.hash!r} is no column of hexadecimal hashes: {error}") from None
        hashes = np.concatenate(parts)
        order = argsort_uids(hashes)
        fresh = np.append(True, hashes[order[1:]] != hashes[order[:-1]])
        group = np.cumsum(fresh) - 1
        count = np.empty(len(hashes), np.int32)
        count[order] = np.bincount(group)[group]
        return PoolScores(columns={"count": count})
