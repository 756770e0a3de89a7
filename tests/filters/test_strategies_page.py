"""The examples of docs/strategies.md work as printed."""

import re
from pathlib import Path

import numpy as np
import yaml

from filters.choosing.compose import build_strategies
from filters.strategy import Columns
from winnow.uid import UID

PAGE = (Path(__file__).parents[2] / "docs/strategies.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_config_builds() -> None:
    built = build_strategies(yaml.safe_load(block("yaml"))["select"]["strategies"])
    assert built["random_tmars"].needs() == built["tmars"].needs()


def test_the_strategy_to_add_judges() -> None:
    module: dict[str, object] = {"__name__": "short_caption"}
    exec(block("python"), module)
    kind = module[module["__all__"][0]]  # type: ignore[index]
    columns = Columns(np.zeros(3, UID), {"meta.text": np.array(["a few words", None, "w " * 11], dtype=object)})
    verdict = kind(max_words=10).select(columns)  # type: ignore[operator]
    assert verdict.reason.tolist() == ["", "caption missing", "caption longer than 10 words"]
