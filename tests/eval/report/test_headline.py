from dataclasses import replace

import pytest

from eval.report.data import Comparison, ReportData, Result, StrategyRow
from eval.report.headline import headline
from eval.report.page import render
from eval.statistics import Estimate


def result(subset: str, value: float, seed: str = "0") -> Result:
    interval = Estimate(value, value - 0.02, value + 0.02)
    return Result("clip", subset, seed, "groups", {"acc1": value, "main_metric": value}, 100, interval, 1000, {})


def versus(first: str, second: str, low: float, value: float, high: float) -> Comparison:
    return Comparison("clip", "groups", first, second, Estimate(value, low, high), 0.5, 1)


def data(low: float, value: float, high: float, lot: int = 30) -> ReportData:
    rows = [StrategyRow(name, 50, 50, 100, {}, False) for name in ("no_filter", "fine")]
    rows.append(StrategyRow("lot", lot, lot, 100, {}, True))
    results = [result("no_filter", 0.4), result("fine", 0.4 + value), result("lot", 0.9)]
    comparisons = [versus("fine", "no_filter", low, value, high)]
    return ReportData("t", "winnow report c", strategies=rows, results=results, comparisons=comparisons)


def sentence(some: ReportData) -> str:
    top = headline(some)
    assert top is not None
    return top.sentence


ONLY = "fine is the only filter on groups; "


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ((0.01, 0.05, 0.09), ONLY + "it beats no_filter by 5.0 points."),
        ((-0.01, 0.05, 0.09), ONLY + "it is not shown to beat no_filter."),
        ((-0.09, -0.05, 0.01), ONLY + "it is not shown to beat no_filter."),
        ((-0.09, -0.05, -0.01), "Keeping everything beats every filter on groups."),
    ],
)
def test_says_no_more_than_the_interval_allows(limits: tuple[float, float, float], words: str) -> None:
    top = headline(data(*limits))
    assert top is not None
    assert top.sentence == words
    assert top.leaders == ["fine"]  # a random control may score highest, but it is no filter
    assert "one training seed" in top.caveat.lower()


@pytest.mark.parametrize(
    ("low", "words"),
    [
        (0.01, ONLY + "it beats no_filter by 5.0 points and as many random pairs."),
        (
            -0.01,
            ONLY + "it beats no_filter by 5.0 points, but fine cannot be told apart from as many random pairs.",
        ),
    ],
)
def test_a_control_of_the_same_size_has_a_say(low: float, words: str) -> None:
    some = data(0.01, 0.05, 0.09, lot=50)
    some.comparisons.append(versus("fine", "lot", low, 0.03, 0.06))
    assert sentence(some) == words


def rivals(gaps: dict[str, float], over_no_filter: dict[str, float]) -> ReportData:
    """`fine` scores 0.6; the lower end of its lead over each rival is given, and of each filter's over no_filter."""
    some = data(over_no_filter["fine"], 0.2, 0.3)
    for number, (name, low) in enumerate(gaps.items()):
        some.strategies.append(StrategyRow(name, 40, 40, 100, {}, False))
        some.results.append(result(name, 0.59 - 0.01 * number))
        some.comparisons.append(versus("fine", name, low, 0.01 + 0.01 * number, 0.2))
        some.comparisons.append(versus(name, "no_filter", over_no_filter[name], 0.19, 0.3))
    return some


@pytest.mark.parametrize(
    ("gaps", "over_no_filter", "words"),
    [
        ({"near": -0.01}, (0.1, 0.1), "fine and near cannot be told apart on groups; both beat no_filter."),
        (
            {"near": -0.01, "close": -0.01, "far": 0.01},
            (0.1, 0.1, 0.1, 0.1),
            "fine, near and close cannot be told apart on groups; all beat no_filter.",
        ),
        (
            {"far": 0.01},
            (0.1, 0.1),
            "fine is ahead of every other filter on groups; it beats no_filter by 20.0 points.",
        ),
        (
            {"far": 0.01},
            (-0.1, -0.1),
            "fine is ahead of every other filter on groups; it is not shown to beat no_filter.",
        ),
        (
            {"near": -0.01},
            (0.1, -0.1),
            "fine and near cannot be told apart on groups; only fine is shown to beat no_filter.",
        ),
        (
            {"near": -0.01},
            (-0.1, -0.1),
            "fine and near cannot be told apart on groups; none of them is shown to beat no_filter.",
        ),
    ],
)
def test_names_all_that_cannot_be_told_apart(
    gaps: dict[str, float], over_no_filter: tuple[float, ...], words: str
) -> None:
    some = rivals(gaps, dict(zip(["fine", *gaps], over_no_filter, strict=True)))
    assert sentence(some) == words
    assert words.replace("<", "&lt;") in render(some)


def test_no_winner_where_only_controls_were_trained() -> None:
    some = data(0.01, 0.05, 0.09)
    some.results = [row for row in some.results if row.subset != "fine"]
    some.comparisons = [versus("lot", "no_filter", 0.4, 0.5, 0.6)]
    assert sentence(some) == "No filter was compared on groups: only controls were trained."


def test_a_comparison_that_could_not_be_made_proves_nothing() -> None:
    some = rivals({"near": 0.01}, {"fine": 0.1, "near": 0.1})
    some.comparisons = [c for c in some.comparisons if c.second != "near"]
    assert sentence(some).startswith("fine and near cannot be told apart")
    some.comparisons = []
    assert sentence(some).endswith("none of them is shown to beat no_filter.")


def test_without_no_filter_no_claim_about_it() -> None:
    some = data(0.01, 0.05, 0.09)
    some.results = [row for row in some.results if row.subset != "no_filter"]
    some.comparisons = []
    assert sentence(some) == ONLY + "keeping everything was not tried."


def test_the_control_is_the_random_subset_of_about_the_same_size() -> None:
    some = data(0.01, 0.05, 0.09, lot=50)
    assert some.control("fine") == "lot"
    some.strategies = [replace(row, kept=52) if row.name == "lot" else row for row in some.strategies]
    assert some.control("fine") is None


def test_names_no_leader_at_chance() -> None:
    some = data(0.01, 0.05, 0.09)
    some.results = [replace(row, notes={"chance": 0.44}) for row in some.results]
    top = headline(some)
    assert top is not None
    assert top.sentence == "No filter is shown to be above chance on groups: not even fine."
    assert "Chance is 44.0 %" in top.caveat


def test_averages_seeds() -> None:
    some = data(0.01, 0.05, 0.09)
    some.results.append(result("fine", 0.55, seed="1"))
    top = headline(some)
    assert top is not None
    fine = next(r for r in top.results if r.subset == "fine")
    assert fine.metrics["main_metric"] == pytest.approx(0.5)


def test_without_results_there_is_no_headline() -> None:
    empty = ReportData("t", "winnow report c")
    assert headline(empty) is None
    assert "Nothing to report yet" in render(empty)
