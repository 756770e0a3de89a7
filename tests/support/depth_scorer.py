"""A scorer that lives outside the tree and notes how it was called."""

import sys
import traceback
from collections.abc import Mapping
from typing import Any

from filters.scorer import Batch, Scorer

__all__ = ["DepthScorer"]

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
            if any(f"/{package}/" in item.co_filename for package in PACKAGES) and "/tests/" not in item.co_filename
        ]
        calls.append(ours)
        return {"depth": [len(ours)] * len(batch)}
