from typing import Any

import numpy as np

from filters.strategies.c_rho import CRHO
from filters.strategy import Columns
from filters.subset import hash_uids


def test_against_a_plain_sort_of_the_difference(awkward: Columns, kept: Any) -> None:
    gain = awkward["clip_heldout.similarity"] - awkward["clip_pool.similarity"]
    hashes = hash_uids(awkward.uids)
    ranked = sorted(np.flatnonzero(~np.isnan(gain)), key=lambda row: (-gain[row], hashes[row]))
    assert kept(CRHO(), awkward) == sorted(ranked[:120])
    assert kept(CRHO(threshold=0.25), awkward) == [row for row in range(200) if gain[row] >= np.float32(0.25)]


def test_a_pair_that_only_the_pool_taught_goes_first(columns: Any) -> None:
    pool = columns(4, clip_heldout__similarity=[0.3, 0.1, 0.3, np.nan], clip_pool__similarity=[0.1, 0.3, 0.3, 0.1])
    verdict = CRHO(fraction=0.25).select(pool)
    label = "clip_heldout.similarity - clip_pool.similarity"
    assert verdict.reason.tolist() == ["", *[f"{label} below 0.2 (top 25%)"] * 2, f"{label} missing"]
