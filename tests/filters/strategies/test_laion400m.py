import math
from typing import Any

import numpy as np

from filters.strategies.laion400m import Laion400M
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    pairs = zip(awkward["meta.text"], awkward["clip.similarity"], strict=True)
    expected = [row for row, (text, score) in enumerate(pairs) if len(text or "") >= 5 and score >= np.float32(0.3)]
    assert 0 < len(expected) < 200
    assert kept(Laion400M(), awkward) == expected


def test_boundaries_and_reasons(columns: Any) -> None:
    pool = columns(
        5, meta__text=["abcde", "日本の写", None, "abcde", "abcde"], clip__similarity=[0.3, 0.4, 0.4, 0.2999, math.nan]
    )
    assert Laion400M().select(pool).reason.tolist() == [
        "",
        "caption shorter than 5 characters",
        "caption shorter than 5 characters",
        "clip.similarity below 0.3",
        "clip.similarity missing",
    ]
