"""T-MARS with C-SSFT and with C-RHO: both are T-MARS's set cut by another score."""

import math
from typing import Any

import numpy as np
import pytest

from filters.strategies.c_rho import CRHO
from filters.strategies.c_ssft import CSSFT
from filters.strategies.tmars import TMARS
from filters.strategies.tmars_c_rho import TMARSCRHO
from filters.strategies.tmars_c_ssft import TMARSCSSFT
from filters.strategy import Columns
from filters.subset import hash_uids, intersect, subset_of


def cut(rows: list[int], score: Any, share: float, columns: Columns) -> list[int]:
    """The best `share` of some rows, by a plain sort."""
    hashes = hash_uids(columns.uids)
    ranked = sorted((row for row in rows if not math.isnan(score[row])), key=lambda row: (-score[row], hashes[row]))
    return sorted(ranked[: int(len(rows) * share + 1e-9)])


@pytest.mark.parametrize("fields", [{}, {"fraction": 0.6}, {"threshold": 0.25}])
def test_against_plain_sorts(awkward: Columns, kept: Any, fields: dict[str, float]) -> None:
    tmars = kept(TMARS(**fields), awkward)
    along = awkward["clip_along.similarity"]
    gain = awkward["clip_heldout.similarity"] - awkward["clip_pool.similarity"]
    assert tmars
    assert kept(TMARSCSSFT(**fields), awkward) == cut(tmars, along, 0.92, awkward)
    assert kept(TMARSCRHO(**fields), awkward) == cut(tmars, gain, 0.6, awkward)


@pytest.mark.parametrize("strategy", [pytest.param(TMARSCRHO(), id="tmars_c_rho")])
def test_it_keeps_part_of_what_tmars_keeps(strategy: Any, awkward: Columns, kept: Any) -> None:
    assert set(kept(strategy, awkward)) < set(kept(TMARS(), awkward))


def test_they_are_intersections_of_subsets(columns: Any) -> None:
    """With a threshold at the cut, the set algebra of T-MARS's and the other's uids gives the same subset."""
    rng = np.random.default_rng(0)
    names = ("clip", "masked_clip", "clip_along", "clip_heldout", "clip_pool")
    pool = columns(2000, **{f"{name}__similarity": rng.random(2000) for name in names})

    def subset(strategy: Any) -> np.ndarray:
        return subset_of(pool.uids, strategy.select(pool).count)

    both, gain = TMARSCSSFT().select(pool).keep, pool["clip_heldout.similarity"] - pool["clip_pool.similarity"]
    other = CSSFT(threshold=pool["clip_along.similarity"][both].min())
    assert intersect(subset(TMARS()), subset(other)).tolist() == subset(TMARSCSSFT()).tolist()
    both = TMARSCRHO().select(pool).keep
    assert intersect(subset(TMARS()), subset(CRHO(threshold=gain[both].min()))).tolist() == subset(TMARSCRHO()).tolist()


def test_a_drop_names_tmars_first(awkward: Columns) -> None:
    first, then = TMARS().select(awkward).reason, TMARSCSSFT().select(awkward).reason
    assert (then[first != ""] == first[first != ""]).all()
    assert all("clip_along" in reason for reason in then[first == ""] if reason)
