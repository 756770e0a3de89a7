from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from filters.strategies.learned_mix import LearnedMix
from filters.strategy import Columns
from filters.subset import subset_of, write_subset
from winnow.component import build, digest
from winnow.errors import UserError

NAMES = ["clip.similarity", "dfn.similarity", "norm_sim.score"]


@pytest.fixture
def pool(columns: Any) -> Columns:
    """3,000 rows; trusted ones are better by two of three scores, which have scales of their own."""
    rng = np.random.default_rng(0)
    trusted = rng.random(3000) < 0.1
    made: Columns = columns(
        3000,
        clip__similarity=0.25 + 0.05 * (rng.normal(size=3000) + trusted),
        dfn__similarity=10 * (rng.normal(size=3000) + 1.5 * trusted),
        norm_sim__score=rng.normal(size=3000),
        set__trusted=trusted,
    )
    made.columns["clip.similarity"][rng.random(3000) < 0.05] = np.nan
    return made


def test_against_scikit_learn(pool: Columns) -> None:
    strategy = LearnedMix(columns=NAMES, trusted_column="set.trusted", fraction=0.2)
    mine = strategy.fit_score(pool)(pool)
    features = np.stack([pool[name] for name in NAMES], axis=1)
    known = ~np.isnan(features).any(axis=1)
    features, label = features[known], pool["set.trusted"][known]
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    weight = 0.5 / np.where(label, label.sum(), (~label).sum())
    model = LogisticRegression(C=1 / 1e-3, tol=1e-12, max_iter=10_000).fit(scaled, label, weight)
    np.testing.assert_allclose(mine[known], model.decision_function(scaled), atol=2e-4)
    assert np.isnan(mine[~known]).all()
    keep = strategy.select(pool).keep
    assert keep.sum() == 600
    assert mine[keep].min() >= np.nanmax(mine[~keep])
    best = max(roc_auc_score(label, features[:, i]) for i in range(3))
    assert roc_auc_score(label, mine[known]) > best + 0.01


def test_a_subset_file_and_a_column_say_the_same(pool: Columns, tmp_path: Path, kept: Any) -> None:
    file = tmp_path / "trusted.npy"
    file.write_bytes(write_subset(subset_of(pool.uids[pool["set.trusted"]])))
    by_file = LearnedMix(columns=NAMES, trusted=str(file))
    assert by_file.needs() == tuple(NAMES)
    assert kept(by_file, pool) == kept(LearnedMix(columns=NAMES, trusted_column="set.trusted"), pool)
    before = digest(by_file)
    file.write_bytes(write_subset(subset_of(pool.uids[:50])))
    assert digest(by_file) != before


def test_a_sample_of_the_classes_gives_nearly_the_same_weights(pool: Columns) -> None:
    full = LearnedMix(columns=NAMES, trusted_column="set.trusted").fit_score(pool)(pool)
    some = LearnedMix(columns=NAMES, trusted_column="set.trusted", max_samples=200).fit_score(pool)(pool)
    assert np.corrcoef(full[~np.isnan(full)], some[~np.isnan(full)])[0, 1] > 0.97
    assert (full != some).any()


def test_without_trusted_pairs_nothing_has_a_score(pool: Columns) -> None:
    pool.columns["set.trusted"] = np.zeros(3000, bool)
    verdict = LearnedMix(columns=NAMES, trusted_column="set.trusted").select(pool)
    assert set(verdict.reason) == {"learned mix of 3 scores missing"}


def test_mistakes(tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(b"0" * 17)
    for fields, message in [
        ({}, "give either `trusted`, a file, or `trusted_column`"),
        ({"trusted": str(tmp_path / "none.npy")}, "no file"),
        ({"trusted_column": "a.b", "columns": []}, "columns"),
    ]:
        with pytest.raises(UserError, match=message):
            build("filters.strategies", {"use": "learned_mix", **fields}, "mine")
    strategy = LearnedMix(trusted=str(tmp_path / "bad.npy"))
    with pytest.raises(UserError, match="is no subset"):
        strategy.select(Columns(np.zeros(0, "u8,u8"), {"clip.similarity": np.zeros(0)}))
