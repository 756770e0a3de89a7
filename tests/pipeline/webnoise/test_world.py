from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.webnoise.captions import clean_captions
from pipeline.webnoise.draw import draw, encode
from pipeline.webnoise.groups import GROUPS
from pipeline.webnoise.pictures import is_heldout, load_pictures
from pipeline.webnoise.world import CATEGORIES, World
from winnow.images import decode_image

SAMPLES = [World().sample(index) for index in range(1500)]


def test_categories_come_in_their_shares():
    counts = Counter(sample.category for sample in SAMPLES)
    for category, share in CATEGORIES.items():
        spread = 4 * (share * (1 - share) / len(SAMPLES)) ** 0.5
        assert abs(counts[category] / len(SAMPLES) - share) < spread


def test_categories_mean_what_they_say():
    for sample in SAMPLES:
        names = sample.scene.picture.names.values()
        if sample.category.startswith("visual"):
            assert any(name in sample.text for name in names)
        if sample.category in ("text", "visual_and_text"):
            assert sample.scene.text in sample.text
            assert sample.scene.text
        if sample.category in ("random", "visual"):
            assert not sample.scene.text


def test_a_sample_is_the_same_again_and_its_bytes_too():
    again = World().sample(7)
    assert again == SAMPLES[7]
    assert encode(draw(again.scene), "png") == encode(draw(SAMPLES[7].scene), "png")


@pytest.mark.parametrize("index", range(12))
def test_pictures_are_drawn_in_their_size(index):
    scene = SAMPLES[index].scene
    pixels = decode_image(encode(draw(scene), scene.format))
    assert pixels.shape == (scene.height, scene.width, 3)
    assert pixels.std() > 5


def test_urls_and_pairs_are_unique():
    assert len({sample.url for sample in SAMPLES}) == len(SAMPLES)


def test_heldout_pictures_occur_nowhere_in_the_pool():
    world = World()
    shown, heldout = world.drawings
    bases = [
        {picture.base for group in part.values() for some in group for picture in some} for part in (shown, heldout)
    ]
    assert not bases[0] & bases[1]
    assert {sample.scene.picture.base for sample in SAMPLES} <= bases[0]
    assert set(heldout) == set(GROUPS)


def test_renderings_of_one_picture_stay_together():
    pictures = {picture.code: picture for picture in load_pictures()}
    same = [("1F44B", "1F44B-1F3FB", "1F44B-1F3FF"), ("1F468-200D-1F692", "1F469-1F3FD-200D-1F692"), ("1F499", "1F49A")]
    for codes in same:
        assert len({pictures[code].base for code in codes}) == 1
    assert pictures["1F98A"].base != pictures["1F43A"].base
    share = np.mean([is_heldout(picture, 0, 0.2) for picture in pictures.values()])
    assert 0.1 < share < 0.3


def test_every_drawing_has_a_group_and_a_name():
    pictures = load_pictures()
    assert len(pictures) > 3500
    assert {picture.group for picture in pictures} == set(GROUPS)
    by_code = {picture.code: picture for picture in pictures}
    expected = {"1F98A": "animals and nature", "1F34E": "food and drink", "1F600": "smileys and emotion"}
    expected |= {"1F1E9-1F1EA": "flags", "1F680": "travel and places", "1F511": "objects", "2648": "symbols"}
    assert {code: by_code[code].group for code in expected} == expected
    assert by_code["1F1E9-1F1EA"].name == "flag of Germany"


def test_clean_captions_name_the_picture_in_different_words():
    picture = load_pictures()[100]
    texts = clean_captions(picture, "teal", 3, np.random.default_rng(0))
    assert len(set(texts)) == 3
    assert all(picture.name in text for text in texts)


def test_shares_must_sum_to_one():
    with pytest.raises(ValidationError, match="sum to 1"):
        World(shares={**CATEGORIES, "text": 0.9})
