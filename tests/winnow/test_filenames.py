"""Names as file names: one to one, and safe on any disk or object store."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.filenames import file_name, name_of
from winnow.storage import is_inside

NAMES = st.text(st.characters(), max_size=14) | st.text(alphabet="ab/%.2F~ -_é", max_size=14)


@given(NAMES)
def test_the_name_comes_back(name: str) -> None:
    assert name_of(file_name(name)) == name


@given(NAMES, NAMES)
def test_different_names_are_different_files(first: str, second: str) -> None:
    assert (file_name(first) == file_name(second)) == (first == second)


@given(NAMES)
def test_a_file_name_is_one_part_of_a_path(name: str) -> None:
    found = file_name(name)
    assert Path("a", found).name == found
    assert not found.startswith(".")
    assert is_inside(f"a/{found}")
    assert not re.search(r"[/\\\0\s:*?\"<>|~]", found)
    found.encode()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tmars", "tmars"),
        ("random_tmars-0.3", "random_tmars-0.3"),
        ("vtab/caltech101", "vtab%2Fcaltech101"),
        ("Käse", "Käse"),
        ("", "%"),
        ("..", "%2E."),
        ("a b", "a%20b"),
        ("50%", "50%25"),
    ],
)
def test_plain_names_stay(name: str, expected: str) -> None:
    assert file_name(name) == expected


def test_a_name_beyond_all_file_systems_is_refused() -> None:
    assert file_name("a" * 110)
    with pytest.raises(UserError, match="too long"):
        file_name("/" * 37)
