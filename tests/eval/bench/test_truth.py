import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.bench.truth import Pairs
from eval.statistics import Estimate

CATEGORIES = ("visual", "visual_and_text", "text_only", "random")
GOOD = ("visual", "visual_and_text")


def naive_shares(
    category: list[str], flags: dict[str, list[bool]], keep: list[bool], rows: list[int]
) -> dict[str, float]:
    """Count, pair by pair."""

    def share(chosen: list[int], of: list[int]) -> float:
        return len(chosen) / len(of) if of else float("nan")

    kept = [row for row in rows if keep[row]]
    good = [row for row in rows if category[row] in GOOD]
    out = {}
    for name in sorted(set(category)):
        mine = [row for row in rows if category[row] == name]
        out[name] = share([row for row in mine if keep[row]], mine)
    for name, values in flags.items():
        mine = [row for row in rows if values[row]]
        out[name] = share([row for row in mine if keep[row]], mine)
    out["all"] = share(kept, rows)
    out["precision"] = share([row for row in kept if category[row] in GOOD], kept)
    out["recall"] = share([row for row in good if keep[row]], good)
    return out


def made(seed: int, count: int) -> tuple[list[str], dict[str, NDArray[np.bool_]], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    category = [str(name) for name in rng.choice(CATEGORIES, size=count, p=(0.45, 0.2, 0.25, 0.1))]
    flags = {"wrong_language": rng.random(count) < 0.1, "low_quality": rng.random(count) < 0.3}
    keep = rng.random(count) < np.where(np.isin(category, GOOD), 0.6, 0.2)
    return category, flags, keep


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_counts_equal_naive_counting(seed: int, count: int) -> None:
    category, flags, keep = made(seed, count)
    pairs = Pairs(category, flags, GOOD)
    (row,) = pairs.truth({"s": keep}, draws=100).strategies
    lists = {name: values.tolist() for name, values in flags.items()}
    expected = naive_shares(category, lists, keep.tolist(), list(range(count)))
    found = {"all": row.share, "precision": row.precision, "recall": row.recall}
    found |= {name: share for name, (_, share) in row.groups.items()}
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, nan_ok=True)
    assert row.kept == keep.sum()
    for group in pairs.groups:
        mine = flags[group.name] if group.kind == "flag" else np.array(category) == group.name
        assert group.size == mine.sum()
        assert row.groups[group.name][0] == (mine & keep).sum()
        assert group.is_good == (group.name in GOOD)


def close(found: Estimate, draws: list[float]) -> bool:
    """Compare an interval with the quantiles of a naive loop, within the noise of both."""
    low, high = np.nanquantile(draws, [0.025, 0.975])
    width = max(high - low, 1e-6)
    return bool(abs(found.low - low) < 0.12 * width and abs(found.high - high) < 0.12 * width)


def test_intervals_equal_those_of_a_naive_loop() -> None:
    category, flags, keep = made(3, 120)
    (row,) = Pairs(category, flags, GOOD).truth({"s": keep}, draws=20_000).strategies
    rng = np.random.default_rng(9)
    lists = {name: values.tolist() for name, values in flags.items()}
    loops = [naive_shares(category, lists, keep.tolist(), rng.integers(0, 120, 120).tolist()) for _ in range(3000)]
    assert close(row.precision, [loop["precision"] for loop in loops])
    assert close(row.recall, [loop["recall"] for loop in loops])
    assert close(row.share, [loop["all"] for loop in loops])
    for name in ("visual", "text_only", "low_quality", "wrong_language"):
        assert close(row.groups[name][1], [loop[name] for loop in loops])


def test_differences_are_paired() -> None:
    """Against a naive loop that resamples both strategies together; two nearly equal ones differ by little."""
    category, flags, keep = made(4, 150)
    other = keep.copy()
    other[:8] ^= True
    found = Pairs(category, flags, GOOD).difference(keep, other, draws=20_000)
    rng, lists = np.random.default_rng(5), {name: values.tolist() for name, values in flags.items()}
    loops: list[dict[str, float]] = []
    for _ in range(3000):
        rows = rng.integers(0, 150, 150).tolist()
        a, b = (naive_shares(category, lists, mask.tolist(), rows) for mask in (keep, other))
        loops.append({name: a[name] - b[name] for name in a})
    a, b = (naive_shares(category, lists, mask.tolist(), list(range(150))) for mask in (keep, other))
    for name in ("precision", "recall", "visual", "low_quality"):
        assert found[name].value == pytest.approx(a[name] - b[name])
        assert close(found[name], [loop[name] for loop in loops])
    (alone,) = Pairs(category, flags, GOOD).truth({"s": keep}, draws=2000).strategies
    assert found["recall"].high - found["recall"].low < 0.6 * (alone.recall.high - alone.recall.low)
    same = Pairs(category, flags, GOOD).difference(keep, keep, draws=100)
    assert all((d.value, d.low, d.high) == (0.0, 0.0, 0.0) for d in same.values())


def test_intervals_depend_on_neither_order_nor_company() -> None:
    category, flags, keep = made(5, 80)
    alone = Pairs(category, flags, GOOD).truth({"s": keep}, draws=500)
    order = np.random.default_rng(0).permutation(80)
    moved = Pairs(
        [category[row] for row in order], {name: values[order] for name, values in flags.items()}, GOOD
    ).truth({"other": ~keep[order], "s": keep[order]}, draws=500)
    assert moved.strategies[1] == alone.strategies[0]
    assert moved.groups == alone.groups


def test_nothing_kept_has_no_precision() -> None:
    category, flags, _ = made(6, 30)
    (row,) = Pairs(category, flags, GOOD).truth({"s": np.zeros(30, bool)}, draws=100).strategies
    assert np.isnan(row.precision.value)
    assert (row.recall.value, row.recall.low, row.recall.high) == (0.0, 0.0, 0.0)


def test_fifty_thousand_pairs_and_twenty_strategies_use_little_memory() -> None:
    """A resample holds a count for each cell, not for each pair: 10,000 resamples of 50,000 pairs fit anywhere."""
    category, flags, keep = made(7, 50_000)
    pairs = Pairs(category, flags, GOOD)
    rng = np.random.default_rng(0)
    strategies = {f"s{number}": keep ^ (rng.random(50_000) < number / 40) for number in range(20)}
    truth = pairs.truth(strategies, draws=10_000)
    counts = pairs._counts([keep], 10_000, 0)[1]
    assert counts.size <= 10_000 * 4 * 2 * 2 * 2
    assert len(truth.strategies) == 20
