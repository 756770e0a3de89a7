import math
from typing import Any

from filters.strategies.all_of import AllOf
from filters.strategies.basic import Basic
from filters.strategies.caption_length import CaptionLength
from filters.strategies.english import English
from filters.strategies.image_size import ImageSize
from filters.strategy import Columns


def test_against_the_naive_rule(awkward: Columns, kept: Any) -> None:
    def passes(width: Any, height: Any) -> bool:
        if any(side is None or math.isnan(side) or side <= 0 for side in (width, height)):
            return False
        return bool(min(width, height) >= 200 and max(width, height) / min(width, height) <= 3.0)

    sizes = zip(awkward["meta.original_width"].tolist(), awkward["meta.original_height"].tolist(), strict=True)
    expected = [row for row, size in enumerate(sizes) if passes(*size)]
    assert 0 < len(expected) < 200
    assert kept(ImageSize(), awkward) == expected


def test_the_three_rules_together_are_the_basic_filter(awkward: Columns, kept: Any) -> None:
    assert kept(AllOf(of=[English(), CaptionLength(), ImageSize()]), awkward) == kept(Basic(), awkward)


def test_boundaries_and_reasons(columns: Any) -> None:
    sizes = [(200, 600), (600, 200), (200, 601), (199, 300), (0, 300), (300, None), (math.nan, 300), (-300, 300)]
    pool = columns(len(sizes), meta__original_width=[w for w, _ in sizes], meta__original_height=[h for _, h in sizes])
    assert ImageSize().select(pool).reason.tolist() == [
        "",
        "",
        "sides differ more than 3:1",
        "shorter side under 200 px",
        *["original size unknown"] * 4,
    ]
