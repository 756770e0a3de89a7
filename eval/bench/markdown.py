"""Write a comparison of filters as Markdown, to be put into a page of results as it stands."""

from collections.abc import Iterable, Sequence

from eval.bench.data import Answer, Bench, Comparison, Table, Truth
from eval.bench.text import p_value, percent, points, signed
from eval.bench.words import of_table
from eval.statistics import Estimate

__all__ = ["render_markdown"]

ROLES = {"control": "random of its size", "no_filter": "no_filter"}
VERDICTS = {"better": "better", "worse": "worse", "none": "no difference shown"}


def render_markdown(bench: Bench) -> str:
    """Return the findings, the tables and what limits them. Shares are in percent, differences in points."""
    parts = [f"# {bench.title}: filters compared", f"`{bench.command}`", _recovery(bench)]
    if bench.statements:
        parts += ["## Findings", "\n".join(f"- {line}" for line in bench.statements)]
    if bench.truth:
        parts += ["## What was kept", *_truth(bench, bench.truth)]
    for table in bench.tables:
        parts += [f"## {table.metric} on {table.task} ({table.recipe})", *_table(bench, table)]
    if bench.answers:
        parts += ["## Direct questions", *[text for answer in bench.answers for text in _answer(answer)]]
    if bench.notes:
        parts += ["## Limits", "\n".join(f"- {line}" for line in bench.notes)]
    return "\n\n".join(parts) + "\n"


def _recovery(bench: Bench) -> str:
    """Name the pool."""
    found = bench.recovery
    share = found["obtained"] / found["asked"] if found["asked"] else 0.0
    return (
        f"Pool: {found['obtained']:,} of {found['asked']:,} pairs obtained ({100 * share:.1f} %), fingerprint "
        f"`{found['fingerprint']}`."
    )


def _truth(bench: Bench, truth: Truth) -> list[str]:
    """Return the table of precision and recall and that of kept shares."""
    drawn = set(bench.controls.values())
    rows = sorted((row for row in truth.strategies if row.name not in drawn), key=lambda row: -_known(row.precision))
    good = ", ".join(f"`{group.name}`" for group in truth.groups if group.is_good)
    words = (
        f"{truth.num_samples:,} pairs. Precision: share of the kept pairs whose picture shows what the caption says "
        f"({good}); recall: share of those pairs that is kept. 95 % percentile intervals, {bench.draws:,} resamples of "
        "the pairs; an interval without width means that no resample could differ. Kept share by group:"
    )
    head = ["strategy", "pairs", "precision", "recall"]
    head += [f"{group.name} ({group.size:,})" for group in truth.groups]
    body = [
        [f"`{row.name}`", f"{row.kept:,}", percent(row.precision), percent(row.recall)]
        + [percent(row.groups[group.name][1]) for group in truth.groups]
        for row in rows
    ]
    return [words, _grid(head, body)]


def _table(bench: Bench, table: Table) -> list[str]:
    """Return scores and comparisons of one recipe, task and metric."""
    seeds = sorted({seed for score in table.scores for seed in score.by_seed}, key=lambda seed: (len(seed), seed))
    chance = f" Chance is {100 * table.chance:.1f} %." if table.chance is not None else ""
    words = f"{table.num_examples:,} test pictures.{chance} Means over seeds with 95 % t intervals."
    parts = [words, "\n".join(f"- {line}" for line in of_table(bench, table))]
    by_name = {(c.strategy, c.role): c for c in table.comparisons}
    roles = [role for role in ROLES if any(c.role == role for c in table.comparisons)]
    head = ["subset", "mean", *[f"seed {seed}" for seed in seeds]]
    head += [f"against {ROLES[role]}" for role in roles]
    body = []
    for score in table.scores:
        row = [f"`{score.subset}`", percent(score.mean)]
        row += [f"{100 * score.by_seed[seed]:.1f}" if seed in score.by_seed else "–" for seed in seeds]
        found = [by_name.get((score.subset, role)) for role in roles]
        row += ["" if c is None else f"{points(c.corrected)} {VERDICTS[c.verdict]}" for c in found]
        body.append(row)
    parts.append(_grid(head, body))
    if table.comparisons:
        parts.append(
            f"Differences with intervals at the level of Holm's step, hierarchical bootstrap over seeds and examples "
            f"({bench.draws:,} draws). The tests:"
        )
        parts.append(_tests(table.comparisons))
    return parts


def _tests(comparisons: Iterable[Comparison]) -> str:
    """Return the table of tests."""
    head = [
        "strategy",
        "against",
        "difference, 95 %",
        "p",
        "p, Holm",
        "p, Welch",
        "by seed: difference, 95 % (McNemar p)",
    ]
    body = []
    for c in comparisons:
        seeds = "; ".join(
            f"{test.seed}: {points(test.difference)}"
            + (f" ({p_value(test.mcnemar)})" if test.mcnemar is not None else "")
            for test in c.by_seed
        )
        row = [
            f"`{c.strategy}`",
            f"`{c.rival}`",
            points(c.difference),
            p_value(c.p_value),
            p_value(c.p_holm),
            p_value(c.p_welch),
            seeds,
        ]
        body.append(row)
    return _grid(head, body)


def _answer(answer: Answer) -> list[str]:
    """Return what one strategy does that another does not."""
    parts = [f"### `{answer.first}` against `{answer.second}`"]
    if answer.kept:
        body = [[f"`{name}`", points(change)] for name, change in answer.kept.items()]
        parts.append(_grid(["group", "difference of the kept shares, paired, 95 %"], body))
    if answer.comparisons:
        head = ["metric", "difference, 95 %", "p", "p, Welch", "by seed (McNemar p)"]
        body = []
        for table, c in answer.comparisons:
            seeds = "; ".join(f"{signed(test.difference.value)} ({p_value(test.mcnemar)})" for test in c.by_seed)
            name = f"{table.metric} on {table.task} ({table.recipe})"
            body.append([name, points(c.difference), p_value(c.p_value), p_value(c.p_welch), seeds])
        parts.append(_grid(head, body))
    return parts


def _grid(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _known(value: Estimate) -> float:
    """Return a value to sort by; nothing kept comes last."""
    return value.value if value.value == value.value else -1.0
