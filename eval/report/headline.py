"""Say in words which strategy won, by how much, and whether the difference means anything."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eval.report.data import Comparison, ReportData, Result
from eval.statistics import Estimate

__all__ = ["Headline", "headline", "mean_results"]


@dataclass(frozen=True)
class Headline:
    """The answer on top of the page."""

    sentence: str
    winner: str
    system: str
    task: str
    results: list[Result]
    """One per subset, best first; several seeds are averaged."""
    comparisons: list[tuple[Comparison, str]]
    """Of the best filter, each with its verdict in words."""
    caveat: str


def headline(data: ReportData) -> Headline | None:
    """Return the headline of the first task with per-example outcomes, None without comparable results."""
    tasks = [(result.system, result.task) for result in data.results if result.interval is not None]
    if not tasks:
        return None
    system, task = next((pair for pair in tasks if "@" not in _main_name(data, pair)), tasks[0])
    results = mean_results([r for r in data.results if (r.system, r.task) == (system, task)])
    filters = [r for r in results if not data.is_random(r.subset) and r.subset != "no_filter"]
    best = filters[0].subset if filters else results[0].subset
    mine = [c for c in data.comparisons if (c.system, c.task, c.first) == (system, task, best)]
    comparisons = [(comparison, _verdict(comparison)) for comparison in mine]
    baseline = next((c for c in mine if c.second == "no_filter"), None)
    if baseline is None:
        sentence = f"{best} scores highest among the filters on {task}."
    elif baseline.difference.value <= 0:
        sentence = f"No filter beats keeping everything on {task}; {best} comes nearest."
    elif baseline.difference.excludes_zero:
        control = next((c for c in mine if data.is_random(c.second)), None)
        gain = f"{_points(baseline.difference.value)} over no_filter"
        if control is None:
            sentence = f"{best} wins on {task}: {gain}."
        elif control.difference.low > 0:
            sentence = f"{best} wins on {task}: {gain}, {_points(control.difference.value)} over as many random pairs."
        else:
            sentence = f"{best} leads on {task}: {gain}, but as many random pairs do as well."
    else:
        sentence = f"{best} leads on {task}, but within the test set's uncertainty of no_filter."
    seeds = {c.num_seeds for c in mine} or {1}
    count = min(seeds)
    caveat = (
        "One training seed only: the intervals speak of the test set; another seed may move the numbers as much."
        if count == 1
        else f"Mean of {count} training seeds; the intervals speak of the test set, not of the seeds."
    )
    winner = next(result for result in results if result.subset == best)
    chance = winner.notes.get("chance")
    if chance is not None and winner.interval is not None and winner.interval.low <= chance:
        sentence = f"No strategy is shown to win on {task}: {best}, the best filter, is not above chance."
        caveat += (
            f" Chance is {100 * chance:.1f} %: train longer or on more pairs before reading anything into the order."
        )
    return Headline(sentence, best, system, task, results, comparisons, caveat)


def mean_results(results: Sequence[Result]) -> list[Result]:
    """Average over seeds and sort by main metric, best first; intervals are those of the mean's first seed, moved."""
    out = []
    for subset in sorted({result.subset for result in results}):
        mine = [r for r in results if r.subset == subset and r.metrics.get("main_metric") is not None]
        if not mine:
            continue
        mean = sum(r.metrics["main_metric"] or 0.0 for r in mine) / len(mine)
        first = mine[0]
        interval = first.interval
        if interval is not None:
            move = mean - interval.value
            interval = Estimate(mean, interval.low + move, interval.high + move)
        out.append(replace(first, metrics={**first.metrics, "main_metric": mean}, interval=interval))
    sign = 1 if results and results[0].notes.get("lower_is_better") else -1
    return sorted(out, key=lambda result: (sign * (result.metrics["main_metric"] or 0.0), result.subset))


def _main_name(data: ReportData, pair: tuple[str, str]) -> str:
    """Return the names of a task's metrics, to tell retrieval from classification."""
    return " ".join(next(r.metrics for r in data.results if (r.system, r.task) == pair))


def _points(difference: float) -> str:
    """Return a difference of shares in percentage points."""
    return f"{100 * difference:+.1f} points"


def _verdict(comparison: Comparison) -> str:
    """Return the plain reading of an interval."""
    is_larger = "is" if comparison.difference.excludes_zero else "is not"
    seeds = "; one seed only" if comparison.num_seeds == 1 else f"; mean of {comparison.num_seeds} seeds"
    return f"difference {is_larger} larger than test-set uncertainty{seeds}"
