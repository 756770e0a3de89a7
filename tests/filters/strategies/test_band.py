from typing import Any

import numpy as np
import pytest

from filters.strategies.band import Band
from filters.strategies.clip_score import ClipScore
from filters.strategies.difference import Difference
from filters.strategy import Columns
from filters.subset import hash_uids
from winnow.component import build
from winnow.errors import UserError


def test_against_a_plain_sort(awkward: Columns, kept: Any) -> None:
    score, hashes = awkward["clip.similarity"], hash_uids(awkward.uids)
    ranked = sorted(np.flatnonzero(~np.isnan(score)), key=lambda row: (-score[row], hashes[row]))
    assert kept(Band(), awkward) == sorted(ranked[2:60])
    assert kept(Band(skip=0.3, fraction=0.5), awkward) == sorted(ranked[60:100])
    assert kept(Band(skip=0), awkward) == kept(ClipScore(), awkward)


def test_it_is_one_top_fraction_less_another(awkward: Columns, kept: Any) -> None:
    less = Difference(of=ClipScore(fraction=0.4), minus=ClipScore(fraction=0.1))
    assert kept(Band(skip=0.1, fraction=0.4), awkward) == kept(less, awkward)


def test_reasons(columns: Any) -> None:
    scores = [0.9, 0.5, 0.3, 0.2, 0.1, np.nan, 0.05, 0.04, 0.03, 0.02]
    assert Band(skip=0.1, fraction=0.3).select(columns(10, clip__similarity=scores)).reason.tolist() == [
        "clip.similarity among the top 10%",
        "",
        "",
        "clip.similarity not among the top 30%",
        "clip.similarity not among the top 30%",
        "clip.similarity missing",
        *["clip.similarity not among the top 30%"] * 4,
    ]


def test_an_empty_band_is_refused() -> None:
    with pytest.raises(UserError, match=r"`skip` 0\.3 must be less than `fraction` 0\.3"):
        build("filters.strategies", {"use": "band", "skip": 0.3}, "mine")
