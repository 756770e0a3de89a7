"""What every strategy in the folder promises, on the awkward pool; a new file is checked without being named."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters.choosing.compose import PACKAGE, build_strategies, describe
from filters.strategy import Columns, Strategy
from winnow.component import build, digest
from winnow.errors import UserError
from winnow.registry import names, resolve

pytestmark = pytest.mark.parametrize("name", names(PACKAGE))


@pytest.fixture
def strategy(name: str) -> Strategy:
    return resolve(PACKAGE, name).tiny()


def test_verdict_is_well_formed(strategy: Strategy, awkward: Columns) -> None:
    verdict = strategy.select(awkward)
    assert verdict.count.shape == verdict.reason.shape == (awkward.num_samples,)
    assert verdict.count.dtype == np.uint16
    assert verdict.reason.dtype == object
    assert all(isinstance(reason, str) for reason in verdict.reason)
    assert ((verdict.reason == "") == (verdict.count > 0)).all()
    assert len(set(verdict.reason)) <= 12
    assert all(len(reason) < 120 for reason in verdict.reason)


def test_verdict_does_not_depend_on_the_order_of_rows(strategy: Strategy, awkward: Columns, reorder: Any) -> None:
    verdict = strategy.select(awkward)
    for seed in range(3):
        rows = np.random.default_rng(seed).permutation(awkward.num_samples)
        again = strategy.select(reorder(awkward, rows))
        np.testing.assert_array_equal(again.count, verdict.count[rows])
        np.testing.assert_array_equal(again.reason, verdict.reason[rows])


def test_verdict_does_not_depend_on_chunks(strategy: Strategy, awkward: Columns, chunked: Any, reorder: Any) -> None:
    whole = strategy.select(awkward)
    rng = np.random.default_rng(11)
    for cuts in (rng.integers(0, 200, 5), rng.integers(0, 200, 40), range(1, 200)):
        rows = rng.permutation(awkward.num_samples)
        permuted = reorder(awkward, rows)
        judge = strategy.fit(chunked(permuted, cuts))
        verdicts = [judge(columns) for columns in chunked(permuted, rng.integers(0, 200, 7)).chunks(strategy.needs())]
        np.testing.assert_array_equal(np.concatenate([part.count for part in verdicts]), whole.count[rows])
        np.testing.assert_array_equal(np.concatenate([part.reason for part in verdicts]), whole.reason[rows])


def test_it_is_deterministic_and_leaves_its_input_alone(strategy: Strategy, awkward: Columns) -> None:
    before = {name: awkward[name].copy() for name in awkward}
    first, second = strategy.select(awkward), strategy.select(awkward)
    np.testing.assert_array_equal(first.count, second.count)
    np.testing.assert_array_equal(first.reason, second.reason)
    for name, column in before.items():
        np.testing.assert_array_equal(awkward[name], column)


def test_it_reads_what_it_says_it_needs(strategy: Strategy, watched: Any) -> None:
    strategy.select(watched)
    assert watched.read == set(strategy.needs())
    assert all(len(need.split(".")) == 2 and all(need.split(".")) for need in strategy.needs())
    assert not any(need.startswith("truth") for need in strategy.needs())


def test_no_rows_and_one_row(strategy: Strategy, awkward: Columns, reorder: Any) -> None:
    assert strategy.select(reorder(awkward, slice(0, 0))).count.shape == (0,)
    assert strategy.select(reorder(awkward, slice(0, 1))).count.shape == (1,)


def test_columns_without_a_single_value(strategy: Strategy, awkward: Columns) -> None:
    floats = {name for name in awkward if awkward[name].dtype != object}
    absent = {
        name: np.full(awkward.num_samples, np.nan if name in floats else None, dtype=None if name in floats else object)
        for name in awkward
    }
    verdict = strategy.select(Columns(awkward.uids, absent))
    assert ((verdict.reason == "") == (verdict.count > 0)).all()


def test_it_round_trips_through_its_config_and_pickle(strategy: Strategy) -> None:
    entry = describe(strategy)
    again = build(PACKAGE, entry, "mine")
    assert again == strategy
    assert digest(again) == digest(strategy)
    assert pickle.loads(pickle.dumps(strategy)) == strategy
    assert build_strategies({"mine": entry})["mine"] == strategy


def test_an_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="no_such_field"):
        build(PACKAGE, {**describe(resolve(PACKAGE, name).tiny()), "no_such_field": 1}, "mine")


def test_the_docs_have_it_with_its_fields_and_columns(name: str, strategy: Strategy) -> None:
    table = (Path(__file__).parents[3] / "docs/strategies.md").read_text(encoding="utf-8")
    (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}` | ") and line.count("|") == 7]
    for field in type(strategy).model_fields:
        assert f"`{field}" in row, field
    assert all(f"`{need}`" in row for need in strategy.needs())
