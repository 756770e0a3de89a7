"""The findings in words, in Markdown and on the page, for planted truths."""

import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
from planted import CONTROLS, RATES, outcomes

from eval.bench.compare import compare_pair, make_table
from eval.bench.data import Answer, Bench, as_json
from eval.bench.markdown import render_markdown
from eval.bench.page import render_page
from eval.bench.text import p_value, percent, points, signed
from eval.bench.truth import Pairs
from eval.bench.words import limits, of_table, statements
from eval.statistics import Estimate


@pytest.fixture(scope="module")
def bench() -> Bench:
    """Return a bench whose strategy `strong` keeps good pairs and wins, `weak` keeps bad ones and loses."""
    rng = np.random.default_rng(0)
    good = rng.random(400) < 0.6
    category = np.where(good, "visual", "text").tolist()
    pairs = Pairs(category, {"low_quality": rng.random(400) < 0.2, "leak": np.arange(400) < 7}, ("visual",))
    kept = {
        "no_filter": np.ones(400, bool),
        "strong": good & (rng.random(400) < 0.9),
        "weak": ~good,
        "idle": rng.random(400) < 0.5,
    }
    found = outcomes(RATES)
    table = make_table(found, CONTROLS, draws=2000)
    pair = compare_pair(found, "strong", "weak", draws=2000)
    assert pair is not None
    bench = Bench(
        title="A <bench>",
        command="winnow bench filters CONFIG",
        recovery={"asked": 500, "obtained": 400, "fingerprint": "0123456789abcdef"},
        draws=2000,
        controls=CONTROLS,
        truth=pairs.truth(kept, draws=2000),
        tables=[table],
        answers=[Answer("strong", "weak", pairs.difference(kept["strong"], kept["weak"], draws=2000), [(table, pair)])],
    )
    bench.statements, bench.notes = statements(bench), limits(bench)
    return bench


def test_findings_say_what_was_planted(bench: Bench) -> None:
    best, kept, models = bench.statements
    order, control, baseline = of_table(bench, bench.tables[0])
    assert best.startswith("Of what `strong` keeps, 100.0 %")
    assert order.index("strong") < order.index("no_filter") < order.index("weak")
    assert "random-" not in order
    for line in (control, baseline):
        better, worse, none = line.split("; ")
        assert "strong (+" in better
        assert "better beyond the corrected interval" in better
        assert "weak (-" in worse
        assert none == "no difference can be shown for idle."
    assert "of `text` -100.0 points" in kept
    assert "of `visual` +" in kept
    assert "strong is better than weak by accuracy on colors (clip) (+" in models


def test_absence_of_differences_is_said() -> None:
    table = make_table(outcomes(dict.fromkeys(RATES, 0.45)), CONTROLS, draws=500)
    found = Bench("t", "c", {}, 500, controls=CONTROLS, tables=[table])
    assert of_table(found, table)[1].endswith("no difference can be shown for any of 3 strategies.")


def test_equal_strategies_keep_the_same_pairs() -> None:
    keep = np.array([True, False, True])
    pairs = Pairs(["visual", "text", "text"], {}, ("visual",))
    answer = Answer("a", "b", pairs.difference(keep, keep, draws=100), [])
    found = Bench("t", "c", {}, 100, truth=pairs.truth({"a": keep, "b": keep}, draws=100), answers=[answer])
    assert statements(found)[-1] == "a and b keep the same pairs."


def test_leaks_are_named_as_a_limit(bench: Bench) -> None:
    assert any(line.startswith("7 pairs of the pool show pictures of the evaluation sets") for line in bench.notes)


def test_one_seed_is_named_as_a_limit() -> None:
    table = make_table(outcomes(RATES, seeds=1), {}, draws=200)
    assert "test-set uncertainty only" in limits(Bench("t", "c", {}, 200, tables=[table]))[0]


def test_markdown_tables_are_whole(bench: Bench) -> None:
    text = render_markdown(bench)
    assert "400 of 500 pairs obtained (80.0 %), fingerprint `0123456789abcdef`" in text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5
    for block in blocks:
        assert len({line.count("|") for line in block}) == 1
    kept = blocks[0]
    assert [line.split("|")[1].strip() for line in kept[2:]] == ["`strong`", "`no_filter`", "`idle`", "`weak`"]


def test_page_is_whole_and_escaped(bench: Bench) -> None:
    class Balance(HTMLParser):
        depth: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "br", "line", "circle"):
                self.depth.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("line", "circle"):
                assert self.depth.pop() == tag

    page, parser = render_page(bench), Balance()
    parser.depth = []
    parser.feed(page)
    assert parser.depth == []
    assert page.count("<svg") == 3
    assert "Of what <code>strong</code> keeps" in page
    assert "A &lt;bench&gt;" in page
    assert "<bench>" not in page


def test_json_has_no_numbers_that_json_has_not(bench: Bench) -> None:
    empty = Pairs(["visual"], {}, ("visual",)).truth({"nothing": np.zeros(1, bool)}, draws=100)
    found = as_json(Bench("t", "c", {}, 100, truth=empty))
    assert found["truth"]["strategies"][0]["precision"]["value"] is None
    again = json.loads(json.dumps(as_json(bench), allow_nan=False))
    first = again["tables"][0]["comparisons"][0]
    assert first["verdict"] in ("better", "worse", "none")
    assert again["answers"][0]["comparisons"][0]["metric"] == "accuracy"


def test_numbers_as_text() -> None:
    nothing = Estimate(math.nan, math.nan, math.nan)
    assert (percent(nothing), points(nothing)) == ("–", "–")
    assert points(Estimate(-0.0001, -0.01, 0.0004)) == "+0.0 [-1.0, +0.0]"
    assert signed(0.0349) == "+3.5"
    assert (p_value(0.0004), p_value(0.0123), p_value(None)) == ("<0.001", "0.012", "–")
