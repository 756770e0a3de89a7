from dataclasses import replace

import pytest

from eval.report.data import Comparison, ReportData, Result, StrategyRow
from eval.report.headline import headline
from eval.report.page import render
from eval.statistics import Estimate


def result(subset: str, value: float, seed: str = "0") -> Result:
    interval = Estimate(value, value - 0.02, value + 0.02)
    return Result("clip", subset, seed, "groups", {"acc1": value, "main_metric": value}, 100, interval, 1000, {})


def data(low: float, value: float, high: float) -> ReportData:
    rows = [StrategyRow(name, 50, 50, 100, {}, name == "lot") for name in ("no_filter", "fine", "lot")]
    comparison = Comparison("clip", "groups", "fine", "no_filter", Estimate(value, low, high), 0.5, 1)
    results = [result("no_filter", 0.4), result("fine", 0.4 + value), result("lot", 0.9)]
    return ReportData("t", "winnow report c", strategies=rows, results=results, comparisons=[comparison])


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ((0.01, 0.05, 0.09), "fine wins on groups: +5.0 points over no_filter."),
        ((-0.01, 0.05, 0.09), "fine leads on groups, but within the test set's uncertainty of no_filter."),
        ((-0.09, -0.05, -0.01), "No filter beats keeping everything on groups; fine comes nearest."),
    ],
)
def test_says_no_more_than_the_interval_allows(limits: tuple[float, float, float], words: str) -> None:
    top = headline(data(*limits))
    assert top is not None
    assert top.sentence == words
    assert top.winner == "fine"  # a random control may score highest, but it is no filter
    assert "one training seed" in top.caveat.lower()


@pytest.mark.parametrize(
    ("low", "words"),
    [
        (0.01, "fine wins on groups: +5.0 points over no_filter, +3.0 points over as many random pairs."),
        (-0.01, "fine leads on groups: +5.0 points over no_filter, but as many random pairs do as well."),
    ],
)
def test_a_control_of_the_same_size_has_a_say(low: float, words: str) -> None:
    some = data(0.01, 0.05, 0.09)
    some.comparisons.append(Comparison("clip", "groups", "fine", "lot", Estimate(0.03, low, 0.06), None, 1))
    top = headline(some)
    assert top is not None
    assert top.sentence == words


def test_the_control_is_the_random_subset_of_about_the_same_size() -> None:
    some = data(0.01, 0.05, 0.09)
    assert some.control("fine") == "lot"
    some.strategies = [replace(row, kept=52) if row.name == "lot" else row for row in some.strategies]
    assert some.control("fine") is None


def test_names_no_winner_at_chance() -> None:
    some = data(0.01, 0.05, 0.09)
    some.results = [replace(row, notes={"chance": 0.44}) for row in some.results]
    top = headline(some)
    assert top is not None
    assert "not above chance" in top.sentence
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
