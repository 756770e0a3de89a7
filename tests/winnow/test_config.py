from pathlib import Path

import pytest

from winnow.config import load_config
from winnow.errors import UserError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run.yaml"
    file.write_text("run_dir: runs/a\ntrain:\n  lr: 0.1\n  data: ['${run_dir}/x', 3]\n")
    return file


def test_reads_and_substitutes(path: Path) -> None:
    assert load_config(path) == {"run_dir": "runs/a", "train": {"lr": 0.1, "data": ["runs/a/x", 3]}}


def test_overrides_are_dotted_and_typed(path: Path) -> None:
    config = load_config(path, ["train.lr=3e-4", "new.deep.key=[1, 2]", "run_dir=runs/b", "flag=true"])
    assert config["train"]["lr"] == 3e-4
    assert config["train"]["data"][0] == "runs/b/x"
    assert config["new"] == {"deep": {"key": [1, 2]}}
    assert config["flag"] is True


@pytest.mark.parametrize(
    ("override", "words"), [("train.lr", "must look like"), ("run_dir.x=1", "is a value, not a section")]
)
def test_malformed_overrides_are_named(path: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_config(path, [override])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config at .*absent\.yaml"):
        load_config(tmp_path / "absent.yaml")
