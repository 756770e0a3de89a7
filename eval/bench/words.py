"""Say in words what a comparison of filters shows, and where it shows nothing."""

from collections.abc import Sequence

from eval.bench.data import Answer, Bench, Comparison, Table, Truth
from eval.bench.text import signed
from eval.statistics import Estimate

__all__ = ["limits", "of_table", "statements"]

RIVALS = {"control": "a random subset of the same size", "no_filter": "no filter"}


def statements(bench: Bench) -> list[str]:
    """Return the findings: the purest subset, and the answers to the direct questions."""
    out = _kept(bench.truth) if bench.truth else []
    for answer in bench.answers:
        out += _answer(answer, bench.truth)
    return out


def of_table(bench: Bench, table: Table) -> list[str]:
    """Return what one table of models shows: the order of their means, and who differs from which rival."""
    return [
        _order(bench, table),
        *[_verdicts(table, role) for role in RIVALS if any(c.role == role for c in table.comparisons)],
    ]


def limits(bench: Bench) -> list[str]:
    """Return what the numbers do not cover."""
    seeds = sorted({len(score.by_seed) for table in bench.tables for score in table.scores})
    out = []
    if bench.tables and min(seeds) < 2:
        out.append("One training seed: intervals are test-set uncertainty only; another seed may move them as much.")
    elif seeds:
        out.append(
            f"{seeds[0]} training seeds a subset. Their spread is pooled over all subsets of a table, as if seeds "
            "moved all of them alike; Welch's test beside it does without."
        )
    leaks = next((group.size for group in bench.truth.groups if group.name == "leak"), 0) if bench.truth else 0
    if leaks and bench.tables:
        out.append(
            f"{leaks:,} pairs of the pool show pictures of the evaluation sets; `leak` tells who trains on them."
        )
    if bench.controls and bench.tables:
        out.append("A control is one random draw for all training seeds; strategies that keep as many share it.")
        out.append("Corrections are within a table: of twenty tables without any effect one may still show one.")
    return out


def _kept(truth: Truth) -> list[str]:
    """Say which strategy keeps the purest set."""
    ranked = sorted(
        (row for row in truth.strategies if row.name != "no_filter" and row.kept),
        key=lambda row: (-row.precision.value, row.name),
    )
    base = next((row for row in truth.strategies if row.name == "no_filter"), None)
    if not ranked:
        return []
    best = ranked[0]
    words = f"Of what `{best.name}` keeps, {_share(best.precision.value)} of the pictures show what their caption says"
    words += f", the highest precision; it keeps {_share(best.recall.value)} of all such pairs"
    return [words + (f". In the pool they are {_share(base.precision.value)}." if base else ".")]


def _order(bench: Bench, table: Table) -> str:
    """Name the strategies by their mean."""
    drawn = set(bench.controls.values())
    ranked = [score for score in table.scores if score.subset not in drawn]
    names = [f"{score.subset} {_share(score.mean.value)}" for score in ranked]
    chance = f" (chance {_share(table.chance)})" if table.chance is not None else ""
    return f"By {_title(table)}{chance}, in the order of their means: {', '.join(names)}."


def _verdicts(table: Table, role: str) -> str:
    """Say which strategies differ from their rivals beyond the corrected interval."""
    mine = sorted((c for c in table.comparisons if c.role == role), key=lambda c: -c.difference.value)
    better, worse, none = ([c for c in mine if c.verdict == word] for word in ("better", "worse", "none"))
    words = f"{_title(table)}, against {RIVALS[role]}: "
    words = words[0].upper() + words[1:]
    if not better and not worse:
        return f"{words}no difference can be shown for any of {len(mine)} strategies."
    parts = []
    if better:
        parts.append(f"{_list(better)} {_is(better)} better beyond the corrected interval")
    if worse:
        parts.append(f"{_list(worse)} {_is(worse)} worse beyond it" if better else f"{_list(worse)} {_is(worse)} worse")
    if none:
        parts.append(f"no difference can be shown for {', '.join(c.strategy for c in none)}")
    return words + "; ".join(parts) + "."


def _answer(answer: Answer, truth: Truth | None) -> list[str]:
    """Answer a direct question, category by category, then by the models."""
    out, first, second = [], answer.first, answer.second
    names = [group.name for group in truth.groups if group.kind == "category"] if truth else []
    changes = [f"of `{name}` {_change(answer.kept[name])}" for name in names if answer.kept[name].excludes_zero]
    if all(change == Estimate(0.0, 0.0, 0.0) for change in answer.kept.values()) and names:
        out.append(f"{first} and {second} keep the same pairs.")
    elif names:
        what = ", ".join(changes) if changes else "of no category differ beyond their intervals"
        out.append(f"{first} minus {second}: kept shares {what}; precision {_change(answer.kept['precision'])}.")
    found: dict[str, list[str]] = {"better": [], "worse": [], "none": []}
    for table, comparison in answer.comparisons:
        found[comparison.verdict].append(f"{_title(table)} ({_change(comparison.corrected)})")
    words = {
        "better": f"{first} is better than {second} by ",
        "worse": f"{first} is worse than {second} by ",
        "none": f"no difference between {first} and {second} can be shown by ",
    }
    parts = [words[verdict] + ", ".join(tables) for verdict, tables in found.items() if tables]
    if parts:
        out.append(f"Of the models trained on them, {'; '.join(parts)}.")
    return out


def _title(table: Table) -> str:
    return f"{table.metric} on {table.task} ({table.recipe})"


def _list(found: Sequence[Comparison]) -> str:
    return ", ".join(f"{c.strategy} ({_change(c.corrected)})" for c in found)


def _is(found: Sequence[Comparison]) -> str:
    return "is" if len(found) == 1 else "are"


def _change(value: Estimate) -> str:
    """Return a difference with its interval."""
    low_high = f"[{signed(value.low)}, {signed(value.high)}]"
    return f"{signed(value.value)} points {low_high}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
