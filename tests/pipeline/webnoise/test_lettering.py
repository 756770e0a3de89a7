from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.webnoise.draw import draw, lettering_of, written_in
from pipeline.webnoise.lettering import can_write, plan_lettering, write
from pipeline.webnoise.sample import sample_at
from pipeline.webnoise.scene import Edit
from pipeline.webnoise.world import World

WORLD = World()
TEXTS = ("fox", "a photo of an old harbour town", "SALE 50%", "ein schönes Foto: Eichhörnchen", "купить наклейку лиса")
SCENES = [scene for index in range(250) if (scene := sample_at(WORLD, index).scene).words]
BARE = [s for s in SCENES if not lettering_of(s).paper and not lettering_of(s).shapes]  # nothing but letters


def planned(seed: int, width: int = 320, height: int = 240):
    rng = np.random.default_rng(seed)
    return plan_lettering(TEXTS[seed % len(TEXTS)], width, height, rng)


def inside(polygons, size, grow: float = 1.5):
    """Return a mask of everything within `grow` pixels of the polygons."""
    mask = Image.new("1", size)
    for polygon in polygons:
        corners = [tuple(point) for point in polygon]
        ImageDraw.Draw(mask).polygon(corners, fill=1)
        ImageDraw.Draw(mask).line([*corners, corners[0]], fill=1, width=round(2 * grow))
    return np.asarray(mask)


@pytest.mark.parametrize("seed", range(60))
def test_ink_lies_within_the_polygons_of_its_lines(seed):
    lettering = replace(planned(seed), paper=False, shapes=())
    canvas = Image.effect_noise((320, 240), 30).convert("RGB")
    before = np.asarray(canvas).astype(int)
    write(canvas, lettering)
    changed = np.abs(np.asarray(canvas) - before).max(axis=2) > 8
    assert changed.sum() > 15
    assert not (changed & ~inside(lettering.polygons(), canvas.size)).any()
    for polygon in lettering.polygons():  # and no polygon is empty or much larger than its ink
        rows, columns = np.nonzero(changed & inside([polygon], canvas.size))
        extent = np.ptp(polygon, axis=0)
        assert np.ptp(columns) >= 0.75 * extent[0] - 4
        assert np.ptp(rows) >= 0.6 * extent[1] - 4


@pytest.mark.parametrize("seed", range(60))
def test_paper_and_shapes_stay_at_the_words(seed):
    lettering = planned(seed)
    canvas = Image.new("RGB", (320, 240), (120, 90, 60))
    write(canvas, lettering)
    changed = (np.asarray(canvas) != (120, 90, 60)).any(axis=2)
    allowed = inside([lettering.paper_polygon()], canvas.size)
    for shape in lettering.shapes:
        left, top, right, bottom = shape.box
        allowed = allowed | inside(
            [np.array([(left, top), (right, top), (right, bottom), (left, bottom)])], canvas.size
        )
    assert not (changed & ~allowed).any()


@pytest.mark.parametrize("size", [(320, 240), (64, 64), (90, 190), (400, 100), (199, 66)])
def test_words_stay_within_the_picture(size):
    for seed in range(80):
        lettering = planned(seed, *size)
        for polygon in lettering.polygons():
            assert (polygon >= 0).all()
            assert (polygon <= size).all()
        assert lettering.text


@pytest.mark.parametrize("scene", BARE[:24], ids=range(24))
def test_recorded_boxes_are_where_the_served_picture_differs_from_one_without_words(scene):
    lettering = lettering_of(scene)
    scene = replace(scene, defect="")  # a blur smears letters over their polygon's border
    wordless = replace(scene, words="")
    one, other = (np.asarray(draw(each, WORLD.picture_set)).astype(int) for each in (scene, wordless))
    changed = np.abs(one - other).max(axis=2) > 16
    size = (one.shape[1], one.shape[0])
    polygons = [line.polygon * size for line in written_in(scene)]
    assert not (changed & ~inside(polygons, size, 2.5)).any()
    assert changed.any() or lettering.contrast == "faint"


def test_a_crop_moves_the_boxes_with_the_words():
    scene = next(scene for scene in BARE if lettering_of(scene).contrast == "strong" and not scene.edit)
    scene = replace(scene, defect="", edit=Edit(crop=(0.04, 0.02, 0.95, 0.99), scale=1.15))
    one, other = (np.asarray(draw(each, WORLD.picture_set)).astype(int) for each in (scene, replace(scene, words="")))
    changed = np.abs(one - other).max(axis=2) > 24
    size = (one.shape[1], one.shape[0])
    assert changed.any()
    assert not (changed & ~inside([line.polygon * size for line in written_in(scene)], size, 4)).any()


def test_letters_vary_in_everything():
    plans = [planned(seed) for seed in range(300)]
    assert len({plan.face for plan in plans}) > 12
    assert {plan.contrast for plan in plans} == {"strong", "medium", "faint"}
    assert {len(plan.lines) for plan in plans} >= {1, 2}
    assert max(plan.size for plan in plans) > 2.5 * min(plan.size for plan in plans)
    assert 0.15 < np.mean([plan.angle != 0 for plan in plans]) < 0.45
    assert 0.04 < np.mean([bool(plan.shapes) for plan in plans]) < 0.25
    assert any(plan.text.isupper() for plan in plans)


def test_shapes_hide_a_part_alone():
    hidden = [plan for plan in (planned(seed) for seed in range(600)) if plan.shapes]
    for plan in hidden:
        bare, hidden_too = (Image.new("RGB", (320, 240), (120, 90, 60)) for _ in range(2))
        write(bare, replace(plan, shapes=()))
        write(hidden_too, plan)
        ink = (np.asarray(bare) != (120, 90, 60)).any(axis=2)
        lost = (np.asarray(hidden_too) != np.asarray(bare)).any(axis=2) & ink
        assert lost.sum() < 0.6 * ink.sum()


def test_letters_without_a_face_are_known():
    assert can_write("Grüße, привет")
    assert not can_write("猫の写真")
