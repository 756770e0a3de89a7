"""Captions from the web hold anything; a page stays text."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from eval.report.data import ReportData, Result
from eval.report.page import render
from eval.report.visible import visible
from eval.statistics import Estimate


@given(st.text(st.characters(), max_size=30))
def test_no_control_character_is_left(text: str) -> None:
    found = visible(text)
    assert len(found) == len(text)
    found.encode()
    assert not {c for c in found if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"}
    assert all(a == b for a, b in zip(text, found, strict=True) if a.isprintable())


def test_a_page_of_hostile_names_can_be_written() -> None:
    name = "evil\x00\x1b[31m\u202e\ud800\x85<b>"
    result = Result("clip", name, "0", name, {"acc1": 0.5, "main_metric": 0.5}, 9, Estimate(0.5, 0.4, 0.6), 1, {})
    page = render(ReportData(name, "c", results=[result]))
    page.encode()
    assert "evil␀␛[31m\ufffd\ufffd\ufffd&lt;b&gt;" in page
    assert not set(page) & set("\x00\x1b\u202e\ud800\x85")
