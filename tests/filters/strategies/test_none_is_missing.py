"""Every strategy has its test under its own name: a file, or a parametrised case with the strategy's name as its id."""

import re
from pathlib import Path

import pytest

from filters.choosing.compose import PACKAGE
from winnow.registry import names

HERE = Path(__file__).parent
CASES = {id for path in HERE.glob("test_*.py") for id in re.findall(r'id="(\w+)"', path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("name", names(PACKAGE))
def test_it_has_a_test(name: str) -> None:
    assert (HERE / f"test_{name}.py").is_file() or name in CASES
