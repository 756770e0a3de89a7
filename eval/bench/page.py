"""Render a comparison of filters as one self-contained HTML page with figures."""

import re
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup, escape

from eval.bench.data import Bench, Score, Table
from eval.bench.text import p_value, points, signed
from eval.bench.words import of_table
from eval.report.svg import Svg, dot_plot
from eval.report.visible import visible
from eval.statistics import Estimate

__all__ = ["render_page"]

HUES = 6


def render_page(bench: Bench) -> str:
    """Return the page. It refers to nothing outside itself and holds no script and no time of day."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"points": points, "p": p_value, "number": _number, "marked": _marked}
    template = environment.from_string((files("eval.bench") / "template.html").read_text(encoding="utf-8"))
    drawn = set(bench.controls.values())
    kept = [row for row in bench.truth.strategies if row.name not in drawn] if bench.truth else []
    kept.sort(key=lambda row: (-row.precision.value if row.precision.value == row.precision.value else 1.0, row.name))
    series = _series(bench)
    groups = [group.name for group in bench.truth.groups] if bench.truth else []
    rows = [(row, [row.precision, row.recall, *(row.groups[name][1] for name in groups)]) for row in kept]
    page = template.render(
        bench=bench,
        style=Markup((files("eval.report") / "style.css").read_text(encoding="utf-8")),
        kept=rows,
        tables=[
            (table, of_table(bench, table), _scores(table, series), _differences(table, series))
            for table in bench.tables
        ],
        roles={"control": "random of its size", "no_filter": "no_filter", "strategy": "each other"},
    )
    return visible(page)


def _series(bench: Bench) -> dict[str, int]:
    """Give each subset its colour: greys to no_filter and to controls, hues to strategies."""
    names = sorted({score.subset for table in bench.tables for score in table.scores})
    drawn = set(bench.controls.values())
    filters = [name for name in names if name not in drawn and name != "no_filter"]
    hues = {name: 2 + number % HUES for number, name in enumerate(filters)}
    return {name: 1 if name in drawn else hues.get(name, 0) for name in names}


def _scores(table: Table, series: dict[str, int]) -> Markup:
    """Draw every subset's mean, a control after the strategy that it belongs to."""
    control = {c.strategy: c.rival for c in table.comparisons if c.role == "control"}
    of = {score.subset: score for score in table.scores}
    order: dict[str, Score] = {}
    for score in table.scores:
        if score.subset not in control.values():
            order[score.subset] = score
            if score.subset in control:
                order[control[score.subset]] = of[control[score.subset]]
    rows = [(name, _clipped(score.mean), series[name]) for name, score in order.items()]
    return Markup(dot_plot(rows, f"{table.metric} on {table.task}, mean of the seeds, 95 %", table.chance))


def _differences(table: Table, series: dict[str, int]) -> list[tuple[str, Markup]]:
    """Draw the differences to each kind of rival, largest on top."""
    out = []
    for role in ("control", "no_filter"):
        mine = sorted((c for c in table.comparisons if c.role == role), key=lambda c: -c.difference.value)
        if mine:
            rows = [(c.strategy, c.corrected, series[c.strategy]) for c in mine]
            out.append((role, Markup(_difference_plot(rows, "difference in points, interval at Holm's level"))))
    return out


def _difference_plot(rows: list[tuple[str, Estimate, int]], label: str) -> str:
    """Draw one horizontal line per difference of shares, with a line at zero."""
    low = min(0.0, *(row[1].low for row in rows))
    high = max(0.0, *(row[1].high for row in rows))
    pad = 0.08 * (high - low or 1)
    left = 24 + round(7.2 * max(len(row[0]) for row in rows))
    limits = (100 * (low - pad), 100 * (high + 2 * pad))
    chart = Svg(760, 62 + 30 * len(rows), limits, (0, 1), left=left, right=64)
    chart.x_axis(label)
    chart.line(chart.px(0), chart.top, chart.px(0), chart.bottom_edge, "mark")
    for number, (name, value, series) in enumerate(rows):
        y = chart.top + 18 + 30 * number
        chart.text(left - 12, y + 4, name, "name", "end")
        chart.line(chart.px(100 * value.low), y, chart.px(100 * value.high), y, f"whisker s{series}")
        chart.circle(chart.px(100 * value.value), y, f"dot s{series}", f"{name}: {points(value)}", 6)
        chart.text(chart.px(100 * value.high) + 9, y + 4, signed(value.value), "value", "start")
    return chart.done(label)


def _clipped(value: Estimate) -> Estimate:
    """Return a share whose interval ends where shares do: Student's, of two seeds, may reach far beyond."""
    return Estimate(value.value, max(0.0, value.low), min(1.0, value.high))


def _marked(line: str) -> Markup:
    """Return a line of Markdown with its `names` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(line))))


def _number(value: int) -> str:
    """Return a count with separators."""
    return f"{value:,}"
