from typing import Any

import numpy as np

from filters.strategies.image_sampling import ImageSampling
from filters.strategy import Columns


def test_class_sizes_are_those_of_the_formula(columns: Any) -> None:
    classes = np.repeat([3, 5, 8], [8000, 800, 200])
    pool = columns(
        10_000, clusters__id=np.append(classes, np.full(1000, 5)), target_clusters__hit=[True] * 9000 + [False] * 1000
    )
    for alpha in (0.0, 0.2, 0.5, 1.0):
        count = ImageSampling(alpha=alpha).select(pool).count
        share = np.array([8000.0, 800, 200]) ** alpha
        drawn = [count[:9000][classes == each].sum() for each in (3, 5, 8)]
        np.testing.assert_allclose(drawn, 10_000 * share / share.sum(), rtol=0.02)
        assert not count[9000:].any()


def test_no_sample_is_drawn_more_often_than_the_limit(columns: Any) -> None:
    pool = columns(1000, clusters__id=[0] * 998 + [1, 2], target_clusters__hit=[True] * 1000)
    count = ImageSampling(alpha=0.0).select(pool).count
    assert count[998:].tolist() == [100, 100]
    assert abs(int(count.sum()) - 1000) < 60


def test_every_copy_is_a_hit_with_a_class(awkward: Columns) -> None:
    strategy = ImageSampling(alpha=0.5, size=2.0)
    count = strategy.select(awkward).count
    for row, (hit, which) in enumerate(zip(awkward["target_clusters.hit"], awkward["clusters.id"], strict=True)):
        assert count[row] == 0 or (hit is True and not np.isnan(which))
    expected = 400  # the size of draws, rounded at random
    assert abs(int(count.sum()) - expected) < 30
    other = ImageSampling(alpha=0.5, size=2.0, seed=1).select(awkward).count
    assert (other != count).any()
    assert set(strategy.select(awkward).reason) == {"", "no hit of the target, or not drawn"}
