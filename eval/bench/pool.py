"""Read what strategies kept of a pool whose truth is known."""

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eval.bench.truth import Pairs
from winnow.storage import Store

__all__ = ["read_kept", "read_pairs"]

Bools = NDArray[np.bool_]


def read_kept(run: Store, strategies: Sequence[str]) -> tuple[list[str], dict[str, Bools]]:
    """Return the pool's uids, (n,) each once, and for each strategy whether it kept them, from subsets/*.parquet."""
    uids: list[str] = []
    kept: dict[str, Bools] = {}
    row_of: NDArray[np.intp] = np.zeros(0, np.intp)
    for name in strategies:
        table = pq.read_table(io.BytesIO(run.read(f"subsets/{name}.parquet")), columns=["uid", "count"])
        if not kept:
            names, row_of = np.unique(np.array(table["uid"].to_pylist(), dtype="U32"), return_inverse=True)
            uids = names.tolist()
        # all of one run's subsets judge the same samples in the same order; a uid may occur twice, kept once
        kept[name] = np.bincount(row_of, weights=table["count"].to_numpy(), minlength=len(uids)) > 0
    return uids, kept


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
