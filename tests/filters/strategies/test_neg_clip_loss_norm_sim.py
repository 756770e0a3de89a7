from typing import Any

import numpy as np
import pytest

from filters.strategies.neg_clip_loss_norm_sim import NegClipLossNormSim
from filters.strategy import Columns
from filters.subset import hash_uids
from winnow.component import build
from winnow.errors import UserError


def test_against_two_plain_sorts(awkward: Columns, kept: Any) -> None:
    loss, sim, hashes = awkward["neg_clip_loss.score"], awkward["norm_sim.score"], hash_uids(awkward.uids)
    first = sorted(np.flatnonzero(~np.isnan(loss)), key=lambda row: (-loss[row], hashes[row]))[:60]
    then = sorted((row for row in first if not np.isnan(sim[row])), key=lambda row: (-sim[row], hashes[row]))[:40]
    assert kept(NegClipLossNormSim(), awkward) == sorted(then)
    verdict = NegClipLossNormSim().select(awkward)
    assert all("neg_clip_loss" in verdict.reason[row] for row in set(range(200)) - set(first))
    assert all("norm_sim" in verdict.reason[row] for row in set(first) - set(then))


def test_the_second_cut_lies_within_the_first() -> None:
    with pytest.raises(UserError, match=r"`fraction` 0\.4 must not exceed `first` 0\.3"):
        build("filters.strategies", {"use": "neg_clip_loss_norm_sim", "fraction": 0.4}, "mine")
