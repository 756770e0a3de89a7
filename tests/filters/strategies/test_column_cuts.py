"""Strategies that are a cut by one column: each against a plain sort of the column that its paper names."""

from typing import Any

import numpy as np
import pytest

from filters.choosing.ranking import nth_highest
from filters.choosing.score_cut import ColumnCut
from filters.strategies.c_ssft import CSSFT
from filters.strategies.dfn import DFN
from filters.strategies.neg_clip_loss import NegClipLoss
from filters.strategies.norm_sim import NormSim
from filters.strategies.sieve import Sieve
from filters.strategies.vas import VAS
from filters.strategy import Columns
from filters.subset import hash_uids


@pytest.mark.parametrize(
    ("strategy", "column", "percent"),
    [
        pytest.param(Sieve(), "caption_similarity.similarity", 20, id="sieve"),
        pytest.param(NegClipLoss(), "neg_clip_loss.score", 30, id="neg_clip_loss"),
        pytest.param(NormSim(), "norm_sim.score", 20, id="norm_sim"),
        pytest.param(VAS(), "vas.score", 20, id="vas"),
        pytest.param(DFN(), "dfn.similarity", 15, id="dfn"),
        pytest.param(CSSFT(), "clip_along.similarity", 92, id="c_ssft"),
    ],
)
def test_against_a_plain_sort(strategy: ColumnCut, column: str, percent: int, awkward: Columns, kept: Any) -> None:
    score, hashes = awkward[column], hash_uids(awkward.uids)
    present = [row for row in range(200) if not np.isnan(score[row])]
    ranked = sorted(present, key=lambda row: (-score[row], hashes[row]))
    assert kept(strategy, awkward) == sorted(ranked[: 200 * percent // 100])
    assert strategy.needs() == (column,)
    reasons = {reason for reason in strategy.select(awkward).reason if reason}
    cut = nth_highest(score, 200 * percent // 100)
    # the cut of C-SSFT lies below every score, as 10% are missing
    ranks = {f"{column} below {cut:.4g} (top {percent}%)", f"{column} ties with the cut {cut:.4g} (top {percent}%)"}
    assert reasons == {f"{column} missing"} | (set() if percent == 92 else ranks)


def test_defaults_give_way_to_a_threshold_and_to_datacomps_rule() -> None:
    assert Sieve(threshold=0.5).fraction is None
    assert DFN(fraction=0.4).fraction == 0.4
    assert Sieve(compat=True).fraction == 0.2


def test_sieves_own_cut_is_the_nth_value_rule(awkward: Columns, kept: Any) -> None:
    score = awkward["caption_similarity.similarity"]
    threshold = -np.sort(-score)[int(len(score) * 0.2)]
    assert kept(Sieve(compat=True), awkward) == np.flatnonzero(score >= threshold).tolist()
