"""What every pool scorer must keep to, the ones added later included."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters.pool_scorer import PoolScorer, PoolScores
from filters.strategy import Columns
from winnow.registry import names, resolve


@pytest.fixture(params=names("filters.pool_scorers"))
def scorer(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PoolScorer:
    """The smallest instance, as it travels to a worker."""
    np.save(tmp_path / "target.npy", np.random.default_rng(5).standard_normal((1, 16)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    tiny: PoolScorer = resolve("filters.pool_scorers", request.param).tiny()
    again: PoolScorer = pickle.loads(pickle.dumps(tiny))
    return again


def by_uid(pool: Any, scores: PoolScores) -> dict[str, Any]:
    """Return the columns in the order of uids."""
    uids = np.concatenate([columns.uids for columns in pool.chunks(())])
    return {name: values[np.argsort(uids)] for name, values in scores.columns.items()}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, values in found.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values, expected[name], rtol=2e-6, atol=2e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_columns_have_a_value_for_every_sample(scorer: PoolScorer, pool: Columns) -> None:
    columns = scorer.score(pool).columns
    assert columns
    for name, values in columns.items():
        assert values.shape == (pool.num_samples,), name
        assert values.dtype in (np.float32, np.int32, np.bool_), name
        assert len(np.unique(values)) > 1, f"{name} tells nothing about this pool"


def test_scores_are_a_function_of_the_set_of_samples(
    scorer: PoolScorer, pool: Columns, cut: Callable[..., Any]
) -> None:
    expected = by_uid(pool, scorer.score(pool))
    rng = np.random.default_rng(1)
    for ends in ((), (1, 120, 120, 299), (0, 7, 64, 200)):
        other = cut(pool, rng.permutation(pool.num_samples), ends)
        assert_same(by_uid(other, scorer.score(other)), expected)


def test_a_second_run_gives_the_same_bytes(scorer: PoolScorer, pool: Columns) -> None:
    first, second = scorer.score(pool), scorer.score(pool)
    assert {n: v.tobytes() for n, v in first.columns.items()} == {n: v.tobytes() for n, v in second.columns.items()}
    assert {n: v.tobytes() for n, v in first.arrays.items()} == {n: v.tobytes() for n, v in second.arrays.items()}


def test_a_pool_of_one_or_two_samples_is_a_pool(scorer: PoolScorer, pool: Columns) -> None:
    for size in (3, 2, 1):
        small = pool.take(slice(0, size))
        if size >= getattr(scorer, "num_clusters", 1):
            assert all(len(values) == size for values in scorer.score(small).columns.values())


def test_identity_and_fields_survive_json(scorer: PoolScorer) -> None:
    identity = dict(scorer.identity())
    assert json.loads(json.dumps(identity)) == identity
    fields = json.loads(json.dumps(scorer.model_dump(mode="json")))
    assert type(scorer).model_validate(fields).model_dump() == scorer.model_dump()
