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

ODD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio."""


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
            texts = pc.utf8_lower(columns.arrow(self.hash))
            try:
                start, end = (from_hex(pc.utf8_slice_codeunits(texts, *ends)) for ends in ((0, 32), (-32, None)))
            except ValueError as error:
                raise UserError(f"{self.hash!r} is no column of hexadecimal hashes: {error}") from None
            for word in ("f0", "f1"):  # 128 bits of all of it: enough to tell the files of any pool apart
                start[word] += end[word] * ODD
            parts.append(start)
        hashes = np.concatenate(parts)
        order = argsort_uids(hashes)
        fresh = np.append(True, hashes[order[1:]] != hashes[order[:-1]])
        group = np.cumsum(fresh) - 1
        count = np.empty(len(hashes), np.int32)
        count[order] = np.bincount(group)[group]
        return PoolScores(columns={"count": count})
