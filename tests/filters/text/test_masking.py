import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.text.masking import covered, mask_polygons

FILLS = ["ring_mean", "box_mean", "image_mean", "constant"]


def noise(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


@pytest.mark.parametrize("fill", FILLS)
def test_without_polygons_the_picture_is_the_same_bytes(fill: str) -> None:
    image = noise()
    assert mask_polygons(image, [], fill).tobytes() == noise().tobytes()


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40)])
def test_a_full_box_makes_a_constant_picture(fill: str, height: int, width: int) -> None:
    out = mask_polygons(noise(height, width), [rectangle(0, 0, width, height)], fill)
    assert len(np.unique(out.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("fill", FILLS)
@settings(max_examples=30, deadline=None)
@given(corners=st.lists(st.tuples(*[st.floats(-20, 80)] * 4), min_size=1, max_size=4), dilation=st.integers(0, 3))
def test_only_covered_pixels_change_and_the_input_stays(fill: str, corners: list, dilation: int) -> None:
    image, boxes = noise(), [rectangle(*c) for c in corners]
    out = mask_polygons(image, boxes, fill, dilation=dilation)
    assert (image == noise()).all()
    changed = (out != image).any(axis=2)
    share = covered(image.shape[:2], boxes)
    assert 0 <= share <= 1
    if dilation == 0:
        assert changed.mean() <= share
    if share == 0 and dilation == 0:
        assert not changed.any()


def test_ring_mean_takes_the_colour_around_and_not_the_text() -> None:
    image = np.full((40, 60, 3), (10, 200, 30), np.uint8)
    image[15:25, 20:40] = 255  # the text
    out = mask_polygons(image, [rectangle(20, 15, 39, 24)], "ring_mean")
    assert (out == (10, 200, 30)).all()


def test_ring_mean_ignores_a_neighbouring_box() -> None:
    image = np.full((20, 40, 3), 50, np.uint8)
    image[:, 10:30] = 255
    out = mask_polygons(image, [rectangle(10, 0, 19, 19), rectangle(20, 0, 29, 19)], "ring_mean")
    assert (out == 50).all()


def test_box_mean_and_image_mean_are_the_means() -> None:
    image = noise()
    inside = image[10:21, 10:31].reshape(-1, 3).mean(axis=0)
    assert (mask_polygons(image, [rectangle(10, 10, 30, 20)], "box_mean")[15, 15] == np.round(inside)).all()
    everywhere = image.reshape(-1, 3).mean(axis=0)
    assert (mask_polygons(image, [rectangle(10, 10, 30, 20)], "image_mean")[15, 15] == np.round(everywhere)).all()


def test_dilation_grows_the_box_on_every_side() -> None:
    changed = (mask_polygons(noise(), [rectangle(20, 15, 30, 25)], "constant", dilation=2, constant=0) == 0).all(axis=2)
    rows, columns = np.where(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (13, 27, 18, 32)


def test_covered_counts_overlaps_once() -> None:
    box = rectangle(0, 0, 29, 19)
    assert covered((40, 60), [box, box]) == pytest.approx(30 * 20 / 2400)
    assert covered((40, 60), []) == 0


@settings(max_examples=30, deadline=None)
@given(
    corner=st.tuples(st.integers(0, 30), st.integers(0, 20)), sides=st.tuples(st.integers(1, 25), st.integers(1, 15))
)
def test_a_box_on_an_upright_rectangle_is_the_polygon(corner: tuple[int, int], sides: tuple[int, int]) -> None:
    box = rectangle(*corner, corner[0] + sides[0], corner[1] + sides[1])
    polygon = mask_polygons(noise(), [box], inflation=0.3)
    assert (mask_polygons(noise(), [box], inflation=0.3, shape="box") == polygon).all()


def test_the_box_of_a_tilted_polygon_is_its_bounding_rectangle() -> None:
    diamond = np.array([[30, 8], [45, 20], [30, 32], [15, 20]], np.float32)
    changed = {
        shape: (mask_polygons(noise(), [diamond], "constant", constant=0, shape=shape) == 0).all(axis=2)
        for shape in ("polygon", "box")
    }
    assert changed["box"].sum() == 31 * 25
    assert changed["polygon"].sum() < 0.6 * changed["box"].sum()
    assert (changed["box"] | ~changed["polygon"]).all()


def test_inflation_is_a_share_of_the_height_whatever_the_rotation() -> None:
    box = rectangle(20, 15, 44, 23)  # 24 by 8
    changed = (mask_polygons(noise(), [box], "constant", constant=0, inflation=0.25) == 0).all(axis=2)
    rows, columns = np.where(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (13, 25, 18, 46)
    both = mask_polygons(noise(), [box], "constant", dilation=1, constant=0, inflation=0.25)
    assert (both == mask_polygons(noise(), [box], "constant", dilation=3, constant=0)).all()
    upright = rectangle(20, 5, 28, 29)
    grown = mask_polygons(noise(), [upright], "constant", constant=0, inflation=0.25)
    assert (grown == mask_polygons(noise(), [upright], "constant", dilation=2, constant=0)).all()
