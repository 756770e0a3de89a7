"""Render the report: plain data in, one self-contained HTML page out. Every text is escaped; captions are hostile."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from eval.report.data import Histogram, ReportData, mean_results
from eval.report.headline import headline
from eval.report.svg import NUM_SERIES, dot_plot, histogram, line_plot, scatter
from eval.report.visible import visible
from eval.statistics import Estimate

__all__ = ["render"]


def render(data: ReportData) -> str:
    """Return the page. It refers to nothing outside itself and holds no script and no time of day."""
    folder = files("eval.report")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "interval": _interval, "points": _points, "thousands": _thousands}
    template = environment.from_string((folder / "template.html").read_text(encoding="utf-8"))
    series = _series(data)
    top = headline(data)
    legends = [(item, _legend(item, data.good)) for item in data.histograms]
    page = template.render(
        data=data,
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        top=top,
        series=series,
        headline_chart=_headline_chart(top, series),
        funnel=_funnel(data),
        histograms=[(item, _histogram(item, legend), legend) for item, legend in legends],
        size_charts=_size_charts(data, series),
        tables=_tables(data),
        losses=_losses(data, series),
        categories=sorted({name for row in data.truth for name in row.kept}),
        several_seeds=any(comparison.num_seeds > 1 for comparison in data.comparisons),
    )
    return visible(page)


def _series(data: ReportData) -> dict[str, int]:
    """Give each subset its colour: greys to no_filter (0) and controls (1), hues to filters."""
    names = [row.name for row in data.strategies] or sorted({result.subset for result in data.results})
    out, hue = {}, 2
    for name in names:
        if name == "no_filter":
            out[name] = 0
        elif data.is_random(name):
            out[name] = 1
        else:
            out[name], hue = hue, 2 + (hue - 1) % (NUM_SERIES - 2)
    return out


def _headline_chart(top: Any, series: dict[str, int]) -> Markup:
    """Draw the accuracies of the headline's task."""
    if top is None:
        return Markup("")
    rows = [(r.subset, r.interval, series.get(r.subset, 0)) for r in top.results if r.interval]
    return Markup(dot_plot(rows, f"{top.task}: main metric, 95 % interval", top.results[0].notes.get("chance")))


def _funnel(data: ReportData) -> list[dict[str, Any]]:
    """Return the funnel's bars: pool first, then each strategy as a branch of the downloaded pairs."""
    rows = [{"label": s.label, "count": s.count, "lost": s.details, "series": None} for s in data.stages]
    rows += [
        {
            "label": f"kept by {s.name}",
            "count": s.kept,
            "lost": {k: n for k, n in s.reasons.items() if k},
            "series": s.name,
        }
        for s in data.strategies
    ]
    largest = max((int(str(row["count"])) for row in rows), default=1) or 1
    return [{**row, "share": 100 * int(str(row["count"])) / largest} for row in rows]


def _histogram(item: Histogram, legend: list[tuple[str, str]]) -> Markup:
    """Draw one score, the groups stacked in the legend's order."""
    groups = {name: item.groups[name] for name, _ in legend}
    return Markup(histogram(groups, dict(legend), item.cuts, item.column))


def _legend(item: Histogram, good: tuple[str, ...]) -> list[tuple[str, str]]:
    """Give each category its style class: greens to good ones, which come first, reds to the others."""
    if list(item.groups) == ["all"]:
        return [("all", "all")]
    fine = [(name, f"good{number % 3}") for number, name in enumerate(n for n in item.groups if n in good)]
    return fine + [(name, f"bad{number % 3}") for number, name in enumerate(n for n in item.groups if n not in good)]


def _size_charts(data: ReportData, series: dict[str, int]) -> list[tuple[str, Markup]]:
    """Draw main metric against kept size for each recipe and task that has intervals."""
    kept = {row.name: row.kept for row in data.strategies}
    out = []
    for system, task in sorted({(r.system, r.task) for r in data.results if r.interval}):
        points = [
            (r.subset, float(kept[r.subset]), r.interval, series.get(r.subset, 0))
            for r in mean_results([r for r in data.results if (r.system, r.task) == (system, task)])
            if r.interval and kept.get(r.subset)
        ]
        if len(points) > 1:
            title = f"{system} on {task}"
            out.append((title, Markup(scatter(points, "pairs kept (log scale)", f"{task}: main metric"))))
    return out


def _tables(data: ReportData) -> list[dict[str, Any]]:
    """Return one table of results per recipe and task, best first."""
    out = []
    for system, task in sorted({(r.system, r.task) for r in data.results}):
        mine = [r for r in data.results if (r.system, r.task) == (system, task)]
        sign = 1 if any(r.notes.get("lower_is_better") for r in mine) else -1
        mine.sort(key=lambda r: (_rank(r.metrics.get("main_metric"), sign), r.subset, r.seed))
        names = list(dict.fromkeys(name for r in mine for name in r.metrics if name != "main_metric"))
        comparisons = [c for c in data.comparisons if (c.system, c.task) == (system, task)]
        is_share = sign < 0
        out.append(
            {
                "system": system,
                "task": task,
                "rows": mine,
                "metrics": names,
                "comparisons": comparisons,
                "is_share": is_share,
                "notes": {k: v for k, v in mine[0].notes.items() if k in ("resize", "num_steps", "guidance", "chance")},
            }
        )
    return out


def _rank(value: float | None, sign: int) -> tuple[bool, float]:
    """Return a key that sorts models without a metric last."""
    return value is None, sign * (value or 0.0)


def _losses(data: ReportData, series: dict[str, int]) -> list[tuple[str, Markup, list[tuple[str, int]]]]:
    """Draw the training curves of each recipe."""
    out = []
    for system in sorted({curve.system for curve in data.curves}):
        mine = [curve for curve in data.curves if curve.system == system]
        lines = [(c.label, c.x, c.y, series.get(c.subset, 0)) for c in mine]
        legend = [(name, number) for name, _, _, number in lines]
        out.append((system, Markup(line_plot(lines, "samples seen", "training loss")), legend))
    return out


def _percent(value: float | None, digits: int = 1) -> str:
    """Return a share in percent, a dash for none."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}"


def _interval(value: Estimate | None) -> str:
    """Return an interval of a share in percent."""
    return "–" if value is None else f"[{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _points(value: Estimate) -> str:
    """Return a difference of shares in percentage points, with its interval."""
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _thousands(value: int | None) -> str:
    """Return a count with separators."""
    return "–" if value is None else f"{value:,}"
