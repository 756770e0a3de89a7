import re
from xml.etree import ElementTree

import numpy as np
import pytest

from eval.report.svg import Svg, dot_plot, histogram, line_plot, scatter
from eval.statistics import Estimate


def test_every_chart_is_well_formed_and_escapes_names() -> None:
    name, value = "<b>&\"'", Estimate(0.5, 0.4, 0.6)
    charts = [
        dot_plot([(name, value, 2)], name, chance=0.1),
        histogram({name: np.arange(10.0)}, {name: "all"}, {name: 4.0}, name),
        scatter([(name, 10, value, 2), (name, 1000, value, 3)], name, name),
        line_plot([(name, [0, 1, 2], [3, 2, float("nan")], 2)], name, name),
    ]
    for chart in charts:
        assert ElementTree.fromstring(chart).tag == "svg"
        assert "<b>" not in chart


def test_histogram_bars_hold_every_value_and_stand_in_proportion() -> None:
    values = np.concatenate([np.zeros(30), np.ones(10)])
    chart = histogram({"a": values}, {"a": "all"}, {}, "score")
    counts = [int(n) for n in re.findall(r"a: (\d+) pairs", chart)]
    heights = [float(h) for h in re.findall(r'height="([\d.]+)"', chart)]
    assert counts == [30, 10]
    assert heights[0] / heights[1] == pytest.approx(3, rel=0.01)


def test_one_value_for_all_is_drawn() -> None:
    assert "40 pairs" in histogram({"a": np.full(40, 0.25)}, {"a": "all"}, {}, "score")


def test_axes_map_values_to_places() -> None:
    chart = Svg(200, 100, (1, 100), (0, 1), left=0, bottom=0, top=0, right=0, log_x=True)
    assert (chart.px(1), chart.px(10), chart.px(100)) == (0, 100, 200)
    assert (chart.py(0), chart.py(0.25), chart.py(1)) == (100, 75, 0)
