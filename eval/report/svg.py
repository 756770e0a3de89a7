"""Small charts as SVG text: no script, no font, no fixed colours, so that the page's style decides light or dark.

Marks carry the classes s0 ... s7 of the style sheet; every number has a tooltip in a <title>.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from eval.statistics import Estimate

__all__ = ["Svg", "dot_plot", "histogram", "line_plot", "scatter"]

NUM_SERIES = 8


class Svg:
    """A canvas with a plot area and linear or logarithmic axes."""

    def __init__(
        self,
        width: int,
        height: int,
        x: tuple[float, float],
        y: tuple[float, float],
        left: int = 52,
        bottom: int = 40,
        top: int = 14,
        right: int = 16,
        log_x: bool = False,
    ) -> None:
        self.width, self.height, self.log_x = width, height, log_x
        self.left, self.top, self.right_edge, self.bottom_edge = left, top, width - right, height - bottom
        self.x_range, self.y_range = x, y
        self.parts: list[str] = []

    def px(self, x: float) -> float:
        """Return the column of a value."""
        low, high = self.x_range
        share = math.log(x / low) / math.log(high / low) if self.log_x else (x - low) / (high - low)
        return round(self.left + share * (self.right_edge - self.left), 1)

    def py(self, y: float) -> float:
        """Return the row of a value."""
        low, high = self.y_range
        return round(self.bottom_edge - (y - low) / (high - low) * (self.bottom_edge - self.top), 1)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Draw a straight line between points of the canvas."""
        self.parts.append(f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')

    def text(self, x: float, y: float, text: str, kind: str = "tick", anchor: str = "middle") -> None:
        """Write text at a point of the canvas."""
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>')

    def circle(self, x: float, y: float, kind: str, tip: str, radius: float = 5) -> None:
        """Draw a dot."""
        self.parts.append(
            f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"><title>{escape(tip)}</title></circle>'
        )

    def x_axis(self, label: str, percent: bool = False) -> None:
        """Draw ticks, grid lines and the label below."""
        ticks = _log_ticks(*self.x_range) if self.log_x else _ticks(*self.x_range)
        for tick in ticks:
            self.line(self.px(tick), self.top, self.px(tick), self.bottom_edge, "grid")
            self.text(self.px(tick), self.bottom_edge + 16, _number(tick, percent))
        self.text((self.left + self.right_edge) / 2, self.height - 6, label, "label")

    def y_axis(self, label: str, percent: bool = False) -> None:
        """Draw ticks, grid lines and the label above."""
        for tick in _ticks(*self.y_range, 5):
            self.line(self.left, self.py(tick), self.right_edge, self.py(tick), "grid")
            self.text(self.left - 8, self.py(tick) + 4, _number(tick, percent), anchor="end")
        self.text(4, self.top - 14, label, "label", "start")

    def done(self, title: str) -> str:
        """Return the element."""
        body = "".join(self.parts)
        return (
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'style="min-width:{min(self.width, 500)}px"><title>{escape(title)}</title>{body}</svg>'
        )


def dot_plot(rows: Sequence[tuple[str, Estimate, int]], label: str, chance: float | None = None) -> str:
    """Draw one horizontal line per row: a dot with its interval, best on top as given.

    Args:
        rows: (name, estimate of a share, series number).
        label: what the axis shows.
        chance: where guessing lands.
    """
    low = min([row[1].low for row in rows] + ([chance] if chance is not None else []))
    high = max(row[1].high for row in rows)
    pad = 0.08 * (high - low or 1)
    left = 24 + round(7.2 * max(len(row[0]) for row in rows))
    chart = Svg(760, 62 + 34 * len(rows), (max(0.0, low - pad), high + 2.2 * pad), (0, 1), left=left, right=64)
    chart.x_axis(label, percent=True)
    if chance is not None:
        chart.line(chart.px(chance), chart.top, chart.px(chance), chart.bottom_edge, "mark")
        chart.text(chart.px(chance) + 4, chart.top + 2, "chance", anchor="start")
    for number, (name, value, series) in enumerate(rows):
        y = chart.top + 18 + 34 * number
        tip = f"{name}: {_interval(value)}"
        chart.text(left - 12, y + 4, name, "name", "end")
        chart.line(chart.px(value.low), y, chart.px(value.high), y, f"whisker s{series}")
        chart.circle(chart.px(value.value), y, f"dot s{series}", tip, 6)
        chart.text(chart.px(value.high) + 9, y + 4, f"{100 * value.value:.1f}", "value", "start")
    return chart.done(label)


def histogram(
    groups: Mapping[str, NDArray[np.float64]], kinds: Mapping[str, str], cuts: Mapping[str, float], label: str
) -> str:
    """Draw counts stacked by group, with a line at each threshold; `kinds` gives each group's style class."""
    everything = np.concatenate(list(groups.values()))
    low, high = float(np.quantile(everything, 0.001)), float(np.quantile(everything, 0.999))
    low, high = min([low, *cuts.values()]), max([high, *cuts.values()])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, 49)
    counts = {name: np.histogram(np.clip(values, low, high), edges)[0] for name, values in groups.items()}
    top = max(int(sum(counts.values()).max()), 1)  # type: ignore[union-attr]
    chart = Svg(760, 260 + 15 * len(cuts), (low, high), (0, top * 1.04), top=32 + 15 * len(cuts))
    chart.x_axis(label)
    chart.y_axis("pairs")
    base = np.zeros(48)
    for name, count in counts.items():
        for bar in range(48):
            if count[bar]:
                x1, x2 = chart.px(edges[bar]), chart.px(edges[bar + 1])
                y1, y2 = chart.py(float(base[bar] + count[bar])), chart.py(float(base[bar]))
                tip = f"{name}: {count[bar]} pairs in {edges[bar]:.3g} to {edges[bar + 1]:.3g}"
                box = f'x="{x1 + 0.6:.1f}" y="{y1}" width="{max(x2 - x1 - 1.2, 0.5):.1f}" height="{y2 - y1:.1f}"'
                chart.parts.append(f'<rect class="bar {kinds[name]}" {box}><title>{escape(tip)}</title></rect>')
        base += count
    for number, (name, cut) in enumerate(sorted(cuts.items(), key=lambda item: item[1])):
        x, y = chart.px(cut), 18 + 15 * number
        chart.line(x, y - 4, x, chart.bottom_edge, "cut")
        near_edge = x > chart.left + 0.7 * (chart.right_edge - chart.left)
        chart.text(
            x - 6 if near_edge else x + 6, y, f"{name} keeps ≥ {cut:.3g}", "name", "end" if near_edge else "start"
        )
    return chart.done(label)


def scatter(points: Sequence[tuple[str, float, Estimate, int]], x_label: str, y_label: str) -> str:
    """Draw estimates over a logarithmic size.

    Args:
        points: (name, size, estimate of a share, series number).
        x_label: what the size is.
        y_label: what the estimate is.
    """
    sizes = [point[1] for point in points]
    low, high = min(point[2].low for point in points), max(point[2].high for point in points)
    pad = 0.1 * (high - low or 1)
    limits = (min(sizes) / 1.25, max(sizes) * 1.4)
    chart = Svg(760, 340, limits, (max(0.0, low - pad), high + pad), top=34, log_x=True)
    chart.x_axis(x_label)
    chart.y_axis(y_label, percent=True)
    placed: list[tuple[float, float]] = []
    for name, size, value, series in sorted(points, key=lambda point: -point[2].value):
        x, y = chart.px(size), chart.py(value.value)
        chart.line(x, chart.py(value.low), x, chart.py(value.high), f"whisker s{series}")
        chart.circle(x, y, f"dot s{series}", f"{name}: {size:,.0f} pairs, {_interval(value)}", 6)
        at_edge = x > chart.right_edge - 120
        at = y + 4
        while any(abs(at - other) < 14 and abs(x - column) < 120 for column, other in placed):
            at += 4
        placed.append((x, at))
        chart.text(x - 11 if at_edge else x + 11, round(at, 1), name, "name", "end" if at_edge else "start")
    return chart.done(y_label)


def line_plot(lines: Sequence[tuple[str, Sequence[float], Sequence[float], int]], x_label: str, y_label: str) -> str:
    """Draw curves (name, x, y, series number)."""
    xs = [x for _, values, _, _ in lines for x in values]
    ys = [y for _, _, values, _ in lines for y in values if math.isfinite(y)]
    if not ys:
        return ""
    low, high = min(ys), max(ys)
    pad = 0.06 * (high - low or 1)
    chart = Svg(760, 300, (0.0, max(xs)), (low - pad, high + pad), top=34)
    chart.x_axis(x_label)
    chart.y_axis(y_label)
    for name, x_values, y_values, series in lines:
        pairs = zip(x_values, y_values, strict=True)
        path = " ".join(f"{chart.px(x)},{chart.py(y)}" for x, y in pairs if math.isfinite(y))
        chart.parts.append(
            f'<polyline class="curve s{series}" points="{path}"><title>{escape(name)}</title></polyline>'
        )
    return chart.done(y_label)


def _interval(value: Estimate) -> str:
    """Return an estimate of a share in percent."""
    return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _ticks(low: float, high: float, count: int = 7) -> list[float]:
    """Return round numbers within a range."""
    raw = (high - low) / count
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times powers of ten within a range."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]


def _number(value: float, percent: bool = False) -> str:
    """Return a tick's text."""
    if percent:
        return f"{100 * value:.4g}%"
    if abs(value) >= 10000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
