from typing import Any

import numpy as np

from filters.strategies.hype import Hype
from filters.strategy import Columns
from filters.subset import hash_uids

PARTS = [f"hyperbolic.{name}" for name in ("image_specificity", "text_specificity", "negative_distance")]


def test_the_papers_sum(awkward: Columns, kept: Any) -> None:
    hashes = hash_uids(awkward.uids)
    hit = awkward["target_clusters.hit"]
    score: dict[int, float] = {}
    for row in range(200):
        parts = [float(awkward[name][row]) for name in [*PARTS, "clip.similarity"]]
        if hit[row] is not None and not np.isnan(parts).any():
            score[row] = sum(parts) + (1.0 if hit[row] else 0.0)
    assert len(score) < 150, "some must lack a part"
    ranked = sorted(score, key=lambda row: (-score[row], hashes[row]))
    assert kept(Hype(), awkward) == sorted(ranked[:40])
    reasons = Hype().select(awkward).reason
    assert {row for row in range(200) if reasons[row] == "HYPE score missing"} == set(range(200)) - set(score)


def test_parts_can_be_left_out(awkward: Columns, kept: Any) -> None:
    bare = Hype(clip=None, hit=None)
    assert bare.needs() == tuple(PARTS)
    score = np.sum([awkward[name].astype(np.float64) for name in PARTS], axis=0)
    keep = bare.select(awkward).keep
    assert keep.sum() == 40
    assert score[keep].min() >= np.nanmax(score[~keep])
    mine = Columns(awkward.uids, {name.replace("hyperbolic", "meru"): awkward[name] for name in PARTS})
    assert kept(Hype(hyperbolic="meru", clip=None, hit=None), mine) == np.flatnonzero(keep).tolist()
