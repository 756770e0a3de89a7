"""Density-based pruning against its rules written out, with SciPy's solver for the quotas."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from filters.strategies.dbp import DBP
from filters.strategy import Columns
from filters.subset import hash_uids


def naive_quotas(sizes: np.ndarray, complexity: np.ndarray, total: int, temperature: float) -> np.ndarray:
    """The real quotas: softmax shares, then the quadratic programme by a general solver."""
    share = np.exp(complexity / temperature) / np.exp(complexity / temperature).sum()
    lower = np.minimum(total / len(sizes) * 0.5, sizes - 1)
    start = lower + (sizes - lower) * (total - lower.sum()) / (sizes - lower).sum()
    return minimize(
        lambda x: ((x - share * total) ** 2).sum(),
        start,
        jac=lambda x: 2 * (x - share * total),
        bounds=list(zip(lower, sizes, strict=True)),
        constraints={"type": "eq", "fun": lambda x: x.sum() - total},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    ).x


@pytest.mark.parametrize(("fraction", "temperature"), [(0.1, 0.5), (0.5, 0.5), (0.5, 0.05), (0.8, 0.1)])
def test_against_the_naive_rule(awkward: Columns, fraction: float, temperature: float) -> None:
    strategy = DBP(fraction=fraction, temperature=temperature)
    keep = strategy.select(awkward).keep
    cluster, similarity = awkward["prototypes.cluster"], awkward["prototypes.similarity"]
    known = ~np.isnan(cluster) & ~np.isnan(similarity)
    members = {c: np.flatnonzero(known & (cluster == c)) for c in range(5)}
    sizes = np.array([len(rows) for rows in members.values()])
    complexity = np.array(
        [
            float(awkward["prototypes.intra"][rows[0]]) * awkward["prototypes.inter"][rows[0]]
            for rows in members.values()
        ]
    )
    total = min(int(200 * fraction), known.sum())
    quota = naive_quotas(sizes, complexity, total, temperature)
    assert keep.sum() == total
    hashes = hash_uids(awkward.uids)
    for c, rows in members.items():
        number = keep[rows].sum()
        assert abs(number - quota[c]) <= 1.001
        farthest = sorted(rows, key=lambda row: (similarity[row], hashes[row]))
        assert set(np.flatnonzero(keep[rows])) == {rows.tolist().index(row) for row in farthest[:number]}


def test_complex_clusters_keep_more_and_no_cluster_goes(columns: Any) -> None:
    cluster = np.repeat([0, 1, 2], 400)
    pool = columns(
        1200,
        prototypes__cluster=cluster,
        prototypes__intra=np.array([0.1, 0.4, 0.7])[cluster],
        prototypes__inter=np.array([0.2, 0.5, 0.9])[cluster],
        prototypes__similarity=np.random.default_rng(0).random(1200),
    )

    def sizes(temperature: float) -> list[int]:
        return np.bincount(cluster[DBP(fraction=0.4, temperature=temperature).select(pool).keep]).tolist()

    even, steep = sizes(1e6), sizes(0.01)
    assert even == [160, 160, 160]
    # the simple ones are left with half of an even share; the complex one would get all, and has 400
    assert steep == [80, 80, 320]
    middle = sizes(0.5)
    share = np.exp(np.array([0.02, 0.2, 0.63]) / 0.5)
    np.testing.assert_allclose(middle, 480 * share / share.sum(), atol=1)


def test_reasons(columns: Any) -> None:
    pool = columns(
        4,
        prototypes__cluster=[0, 0, math.nan, 0],
        prototypes__intra=[0.1] * 4,
        prototypes__inter=[0.1] * 4,
        prototypes__similarity=[0.9, 0.2, 0.1, 0.5],
    )
    beyond = "beyond its cluster's quota"
    assert DBP(fraction=0.5).select(pool).reason.tolist() == [beyond, "", "no cluster", ""]
