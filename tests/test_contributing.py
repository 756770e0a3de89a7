"""The examples of CONTRIBUTING.md, run as written: one file each, dropped into the registry folder."""

import re
from pathlib import Path

import numpy as np
import pytest

import filters.scorers
import filters.strategies
from filters.scorer import Batch
from filters.strategy import Columns
from winnow.component import build
from winnow.registry import names
from winnow.uid import from_hex, make_uid

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def drop_in(folder: str, name: str, tmp_path: Path) -> None:
    """Write the Python block that follows the mention of `folder/name.py` as that file."""
    code = re.search(rf"`{folder}/{name}\.py`:\n\n```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert code, f"CONTRIBUTING.md has no example for {folder}/{name}.py"
    (tmp_path / f"{name}.py").write_text(code[1])


def test_strategy_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_in("filters/strategies", "long_captions", tmp_path)
    monkeypatch.setattr(filters.strategies, "__path__", [*filters.strategies.__path__, str(tmp_path)])
    assert "long_captions" in names("filters.strategies")
    strategy = build("filters.strategies", {"min_chars": 5}, "long_captions")
    uids = from_hex([make_uid("u", str(index)) for index in range(3)])
    verdict = strategy.select(Columns(uids, {"caption_stats.num_chars": np.array([4, 5, 6])}))
    assert verdict.keep.tolist() == [False, True, True]
    assert verdict.reason[0] == "caption under 5 characters"


def test_scorer_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_in("filters/scorers", "brightness", tmp_path)
    monkeypatch.setattr(filters.scorers, "__path__", [*filters.scorers.__path__, str(tmp_path)])
    assert "brightness" in names("filters.scorers")
    scorer = build("filters.scorers", {}, "brightness")
    images = [np.full((4, 5, 3), value, dtype=np.uint8) for value in (0, 200)]
    columns = scorer.score(Batch(uids=["a", "b"], captions=["", ""], meta=[{}, {}], images=images))
    assert columns["mean"].tolist() == [0.0, 200.0]
