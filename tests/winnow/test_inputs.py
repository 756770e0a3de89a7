from pathlib import Path

import pytest

from winnow.component import Component, build, digest, validate
from winnow.errors import UserError
from winnow.inputs import InputFile, read_input


class Reader(Component):
    path: InputFile
    other: InputFile | None = None


def test_its_digest_is_that_of_the_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    a, b = Reader(path=str(first)), Reader(path=str(second))
    assert digest(a) == digest(b)
    assert a.model_dump(mode="json") == {"path": str(first), "other": None}
    before = digest(a)
    first.write_bytes(b"two")
    assert digest(a) != before == digest(b)
    assert digest({"nested": [a]}) != digest({"nested": [b]})
    assert read_input(f"file://{first}") == b"two"


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"key `mine\.path`: no file .*missing"):
        validate(Reader, {"path": str(tmp_path / "missing")}, "mine")
    with pytest.raises(UserError, match="no file"):
        read_input(str(tmp_path))
    with pytest.raises(UserError, match="no file"):
        build("filters.strategies", {"use": "learned_mix", "trusted": "nowhere.npy"}, "mine")


def test_a_file_of_a_nested_strategy_enters_the_digest(tmp_path: Path) -> None:
    import numpy as np

    from filters.subset import write_subset
    from winnow.uid import UID

    file = tmp_path / "trusted.npy"
    file.write_bytes(write_subset(np.zeros(1, UID)))
    spec = {"use": "soft_cap", "of": {"use": "learned_mix", "trusted": str(file)}}
    before = digest(build("filters.strategies", spec, "mine"))
    assert digest(build("filters.strategies", spec, "mine")) == before
    file.write_bytes(write_subset(np.zeros(2, UID)))
    assert digest(build("filters.strategies", spec, "mine")) != before
