"""Read what strategies kept of a pool whose truth is known."""

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eval.bench.truth import Pairs
from winnow.storage import Store
from winnow.uid import to_hex
from winnow.verdicts import read_verdicts

__all__ = ["read_kept", "read_pairs"]

Bools = NDArray[np.bool_]


def read_kept(pool: Store, run: Store, strategies: Sequence[str]) -> tuple[list[str], dict[str, Bools]]:
    """Return the pool's uids, (n,) each once, and for each strategy whether it kept them.

    Raises:
        UserError: the pool has changed since `winnow select`.
    """
    found = {name: read_verdicts(run, name) for name in strategies}
    if not found:
        return [], {}
    names, row_of = np.unique(np.array(to_hex(next(iter(found.values())).uids(pool))), return_inverse=True)
    # all of one run's subsets judge the same samples in the same order; a uid may occur twice, kept once
    return names.tolist(), {
        name: np.bincount(row_of, weights=verdicts.count, minlength=len(names)) > 0 for name, verdicts in found.items()
    }


def read_pairs(pool: Store, uids: Sequence[str], good: Sequence[str]) -> Pairs | None:
    """Return the truth about uids from truth.parquet, None without one.

    Args:
        pool: the pool's folder.
        uids: of the pairs that were downloaded.
        good: categories whose picture shows what the caption says.

    Returns:
        `category`, and as flags all boolean columns that are true of any of the pairs.
    """
    if not pool.exists("truth.parquet"):
        return None
    table = pq.read_table(io.BytesIO(pool.read("truth.parquet")))
    at = {uid: row for row, uid in enumerate(table["uid"].to_pylist())}
    rows = np.array([at.get(uid, -1) for uid in uids], dtype=np.int64)
    known = rows >= 0
    category = np.array(table["category"].to_pylist(), dtype=object)[rows]
    category[~known] = "unknown"
    flags = {}
    for field in table.schema:
        if pa.types.is_boolean(field.type):
            values = np.array(table[field.name].to_pylist(), dtype=object)[rows]
            flag = np.array([value is True for value in values], dtype=bool) & known
            if flag.any():
                flags[field.name] = flag
    return Pairs(category.tolist(), flags, good)
