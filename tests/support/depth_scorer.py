"""A scorer that lives outside the tree and notes how it was called."""

import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import winnow
from filters.scorer import Batch, Scorer

__all__ = ["DepthScorer"]

ROOT = Path(winnow.__file__).parents[1]
"""Of the checkout, whatever its name and place: a virtual environment may lie in it."""
PACKAGES = ("winnow", "filters", "training", "eval", "pipeline")
calls: list[list[str]] = []
"""For every batch, our own functions on the stack, outermost first."""


class DepthScorer(Scorer):
    """Column `depth`: how many of our functions are on the stack."""

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Note the stack."""
        code = [frame.f_code for frame, _ in traceback.walk_stack(sys._getframe().f_back)]
        ours = [
            item.co_qualname
            for item in reversed(code)
            if any(Path(item.co_filename).is_relative_to(ROOT / package) for package in PACKAGES)
        ]
        calls.append(ours)
        return {"depth": [len(ours)] * len(batch)}
