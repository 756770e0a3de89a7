import math
from typing import Any

import numpy as np

from filters.strategies.laion2b import Laion2B
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    pairs = zip(awkward["cld3.language"], awkward["clip.similarity"], strict=True)
    expected = [row for row, (language, score) in enumerate(pairs) if language == "en" and score >= np.float32(0.28)]
    assert 0 < len(expected) < awkward.num_samples
    assert kept(Laion2B(), awkward) == expected


def test_reasons(columns: Any) -> None:
    pool = columns(
        5,
        cld3__language=["en", "en", "en", "de", None],
        clip__similarity=[0.28, 0.2799, math.nan, 0.4, 0.4],
    )
    assert Laion2B().select(pool).reason.tolist() == [
        "",
        "clip.similarity below 0.28",
        "clip.similarity missing",
        "cld3.language is not en",
        "cld3.language is not en",
    ]


def test_other_columns_can_be_named(columns: Any, kept: Any) -> None:
    pool = columns(2, lid__code=["de", "en"], m__s=[0.27, 0.9])
    assert kept(Laion2B(language="de", language_column="lid.code", score="m.s", threshold=0.26), pool) == [0]
