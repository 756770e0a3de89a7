import math
from typing import Any

from filters.strategies.text_area import TextArea


def test_limit_missing_and_reasons(columns: Any) -> None:
    pool = columns(6, text_boxes__area_share=[0.0, 0.1999, 0.2, 1.0, math.nan, None])
    drop = "text covers 20% or more of the picture"
    assert TextArea().select(pool).reason.tolist() == [
        "",
        "",
        drop,
        drop,
        "text_boxes.area_share missing",
        "text_boxes.area_share missing",
    ]


def test_threshold_one_drops_only_full_pictures(columns: Any, kept: Any) -> None:
    assert kept(TextArea(area="boxes.share", threshold=1.0), columns(3, boxes__share=[0.5, 0.99, 1.0])) == [0, 1]
