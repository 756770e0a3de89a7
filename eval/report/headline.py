"""Say in words which strategies lead, and no more than the page's own intervals carry."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.data import Comparison, ReportData, Result, mean_results

__all__ = ["Headline", "headline"]


@dataclass(frozen=True)
class Headline:
    """The answer on top of the page."""

    sentence: str
    leaders: list[str]
    """Filters that cannot be told apart from the best, which comes first; none where no filter was trained."""
    system: str
    task: str
    results: list[Result]
    """One per subset, best first; several seeds are averaged."""
    comparisons: list[tuple[Comparison, str]]
    """Of the leaders, each with its verdict in words."""
    caveat: str


Changes = dict[tuple[str, str], Comparison]


def headline(data: ReportData) -> Headline | None:
    """Return the headline of the first task with per-example outcomes, None without comparable results."""
    tasks = [(result.system, result.task) for result in data.results if result.interval is not None]
    if not tasks:
        return None
    system, task = next((pair for pair in tasks if "@" not in _main_name(data, pair)), tasks[0])
    results = mean_results([r for r in data.results if (r.system, r.task) == (system, task)])
    changes = {(c.first, c.second): c for c in data.comparisons if (c.system, c.task) == (system, task)}
    filters = [result for result in results if not data.is_control(result.subset)]
    best = filters[0] if filters else None
    leaders = [r.subset for r in filters if best and not _is_better(changes, best.subset, r.subset)]
    shown = [c for (first, _), c in changes.items() if first in leaders] or list(changes.values())
    chance = best.notes.get("chance") if best else None
    seeds = min((c.num_seeds for c in shown), default=1)
    caveat = (
        "One training seed only: the intervals speak of the test set; another seed may move the numbers as much."
        if seeds == 1
        else f"Mean of {seeds} training seeds; the intervals speak of the test set, not of the seeds."
    )
    if best is None:
        sentence = f"No filter was compared on {task}: only controls were trained."
    elif chance is not None and best.interval is not None and best.interval.low <= chance:
        sentence = f"No filter is shown to be above chance on {task}: not even {_names(leaders)}."
        caveat += (
            f" Chance is {100 * chance:.1f} %: train longer or on more pairs before reading anything into the order."
        )
    else:
        sentence = _sentence(data, changes, leaders, [r.subset for r in filters], [r.subset for r in results], task)
    return Headline(sentence, leaders, system, task, results, [(c, _verdict(c)) for c in shown], caveat)


def _sentence(
    data: ReportData, changes: Changes, leaders: list[str], filters: list[str], trained: list[str], task: str
) -> str:
    """Name the leaders and the controls that all of them beat."""
    if all(_is_better(changes, name, "no_filter", -1) for name in filters):
        return f"Keeping everything beats every filter on {task}."
    one, several = leaders[0], len(leaders) > 1
    if several:
        start = f"{_names(leaders)} cannot be told apart on {task}"
    elif len(filters) > 1:
        start = f"{one} is ahead of every other filter on {task}"
    else:
        start = f"{one} is the only filter on {task}"
    if "no_filter" not in trained:
        return f"{start}; keeping everything was not tried."
    beat = [name for name in leaders if _is_better(changes, name, "no_filter")]
    if not beat:
        return f"{start}; {'none of them is' if several else 'it is not'} shown to beat no_filter."
    if len(beat) < len(leaders):
        return f"{start}; only {_names(beat)} {'is' if len(beat) == 1 else 'are'} shown to beat no_filter."
    sentence = f"{start}; {'both beat' if len(leaders) == 2 else 'all beat' if several else 'it beats'} no_filter"
    if not several:
        sentence += f" by {100 * changes[one, 'no_filter'].difference.value:.1f} points"
    controls = {name: data.control(name) for name in leaders}
    controls = {name: lot for name, lot in controls.items() if lot in trained}
    behind = [name for name, lot in controls.items() if not _is_better(changes, name, str(lot))]
    if behind:
        return f"{sentence}, but {_names(behind)} cannot be told apart from as many random pairs."
    return f"{sentence}{' and as many random pairs' if len(controls) == len(leaders) else ''}."


def _is_better(changes: Changes, first: str, second: str, sign: int = 1) -> bool:
    """Tell whether the interval of first minus second lies above zero (sign -1: below)."""
    change = changes.get((first, second))
    return change is not None and change.difference.excludes_zero and sign * change.difference.value > 0


def _main_name(data: ReportData, pair: tuple[str, str]) -> str:
    """Return the names of a task's metrics, to tell retrieval from classification."""
    return " ".join(next(r.metrics for r in data.results if (r.system, r.task) == pair))


def _names(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _verdict(comparison: Comparison) -> str:
    """Return the plain reading of an interval."""
    is_larger = "is" if comparison.difference.excludes_zero else "is not"
    seeds = "; one seed only" if comparison.num_seeds == 1 else f"; mean of {comparison.num_seeds} seeds"
    return f"difference {is_larger} larger than test-set uncertainty{seeds}"
