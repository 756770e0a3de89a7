from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from scipy.fft import dctn

from pipeline.picturesets._emoji_groups import GROUPS
from pipeline.webnoise.captions import clean_captions, words_for
from pipeline.webnoise.draw import draw, render, written_in
from pipeline.webnoise.evaluation import evaluation_scene
from pipeline.webnoise.sample import sample_at
from pipeline.webnoise.world import CATEGORIES, DEFECTS, NOISES, World
from winnow.images import decode_image

WORLD = World()
SAMPLES = [sample_at(WORLD, index) for index in range(3000)]
OWN = [s for s in SAMPLES if not s.placeholder and s.leak_of is None and s.duplicate_of is None]
PAIRS = [s for s in OWN if not s.junk_caption]


def check_share(hits: int, count: int, share: float) -> None:
    assert abs(hits - count * share) <= 4 * (count * share * (1 - share)) ** 0.5 + 1


def test_categories_come_in_their_shares():
    counts = Counter(sample.category for sample in PAIRS)
    for category, share in CATEGORIES.items():
        check_share(counts[category], len(PAIRS), share)


def test_noises_come_in_their_shares():
    check_share(sum(s.placeholder for s in SAMPLES), len(SAMPLES), NOISES["placeholder"])
    check_share(sum(s.leak_of is not None for s in SAMPLES), len(SAMPLES), NOISES["leak"])
    check_share(sum(s.duplicate_of is not None for s in SAMPLES), len(SAMPLES), NOISES["near_duplicate"])
    check_share(sum(s.junk_caption for s in OWN), len(OWN), NOISES["junk_caption"])
    check_share(sum(s.language != "en" for s in PAIRS), len(PAIRS), NOISES["wrong_language"])
    for defect in DEFECTS:
        check_share(sum(s.defect == defect for s in OWN), len(OWN), NOISES[defect])


def test_other_shares_are_obeyed():
    shares = dict.fromkeys(CATEGORIES, 0.0) | {"text": 0.3, "random": 0.7}
    world = World(shares=shares, noise=dict.fromkeys(NOISES, 0.0) | {"near_duplicate": 0.5, "blur": 1.0})
    samples = [sample_at(world, index) for index in range(300)]
    assert {s.category for s in samples} == {"text", "random"}
    assert {s.language for s in samples} == {"en"}
    assert {s.defect for s in samples} == {"blur"}
    check_share(sum(s.duplicate_of is not None for s in samples), 300, 0.5)


def test_categories_mean_what_they_say():
    for sample in PAIRS:
        names = sample.scene.subject.names.values()
        if sample.category.startswith("visual"):
            assert any(name in sample.text for name in names)
        if sample.category in ("text", "visual_and_text"):
            assert sample.scene.words
            assert sample.scene.words in sample.text
        if sample.category in ("random", "visual"):
            assert not sample.scene.words
        if sample.category == "text":
            assert sample.scene.subject.name not in sample.text or sample.scene.subject.name in sample.scene.words


def test_noise_without_meaning_is_random():
    for sample in SAMPLES:
        if sample.junk_caption or sample.placeholder:
            assert sample.category == "random"
    assert len({sample.scene for sample in SAMPLES if sample.placeholder}) <= 3


def test_a_sample_is_the_same_again_and_its_bytes_too():
    for index in (0, 7, 1234):
        again = sample_at(World(), index)
        assert again == SAMPLES[index]
        assert render(again.scene, World().picture_set) == render(SAMPLES[index].scene, WORLD.picture_set)


@pytest.mark.parametrize("index", range(12))
def test_pictures_are_drawn_in_their_size(index):
    scene = OWN[index].scene
    pixels = decode_image(render(scene, WORLD.picture_set))
    assert pixels.shape == (scene.height, scene.width, 3)
    assert pixels.std() > 3


def test_sizes_follow_the_defect():
    for sample in OWN:
        width, height = sample.scene.width, sample.scene.height
        assert (min(width, height) < 200) == (sample.defect in ("tiny", "banner"))
        assert (max(width, height) / min(width, height) > 3) == (sample.defect == "banner")


@pytest.mark.parametrize("place", range(6))
def test_defects_spoil_what_they_say(place):
    scene = [sample.scene for sample in OWN if not sample.defect][place]
    kinds = ("", "blur", "low_contrast", "jpeg")
    grey = {
        kind: np.asarray(draw(replace(scene, defect=kind), WORLD.picture_set).convert("L"), dtype=float)
        for kind in kinds
    }
    assert sharpness(grey["blur"]) < 0.5 * sharpness(grey[""])
    assert grey["low_contrast"].std() < 0.35 * grey[""].std()
    assert 0.5 < np.abs(grey["jpeg"] - grey[""]).mean() < 30


def sharpness(grey):
    return np.abs(np.diff(grey, axis=1)).max(axis=0).mean()


def test_urls_are_unique_and_of_this_world():
    assert len({sample.url for sample in SAMPLES}) == len(SAMPLES)
    assert all(f"/{WORLD.album}/" in sample.url for sample in SAMPLES)
    assert World(seed=1).album != WORLD.album != World(noise={"leak": 0.0}).album


# Copies.


@cache
def fingerprint(scene):
    """Return the 64-bit perceptual hash: the 8 x 8 lowest DCT coefficients of 32 x 32 grey, above their median."""
    grey = draw(scene, WORLD.picture_set).convert("L").resize((32, 32), Image.Resampling.BOX)
    low = dctn(np.asarray(grey, dtype=float), norm="ortho")[:8, :8]
    return low > np.median(low)


def distance(one, other):
    return int((fingerprint(one) != fingerprint(other)).sum())


def test_copies_look_like_their_originals_and_nothing_else_does():
    copies = [sample for sample in SAMPLES if sample.duplicate_of is not None][:36]
    near = [distance(sample.scene, SAMPLES[sample.duplicate_of].scene) for sample in copies]
    far = [distance(one.scene, other.scene) for one, other in zip(OWN[:36], OWN[36:72], strict=True)]
    assert np.median(near) <= 4
    assert np.mean(np.array(near) <= 12) > 0.9
    assert np.mean(np.array(far) <= 12) < 0.1


def test_copies_come_after_their_originals_with_the_same_truth():
    for index, sample in enumerate(SAMPLES):
        if sample.duplicate_of is not None:
            original = SAMPLES[sample.duplicate_of]
            assert sample.duplicate_of < index
            assert original.duplicate_of is None
            assert (sample.category, sample.defect, sample.language) == (
                original.category, original.defect, original.language
            )  # fmt: skip
            assert sample.url != original.url
            assert sample.scene.edit is not None
    kinds = [SAMPLES[s.duplicate_of].text == s.text for s in SAMPLES if s.duplicate_of is not None]
    assert 0.4 < np.mean(kinds) < 0.95


def test_copies_differ_from_their_originals_in_bytes():
    copies = [sample for sample in SAMPLES if sample.duplicate_of is not None][:20]
    for sample in copies:
        assert render(sample.scene, WORLD.picture_set) != render(SAMPLES[sample.duplicate_of].scene, WORLD.picture_set)


# The held-out side.


def test_heldout_pictures_occur_in_the_pool_as_leaks_alone():
    bases = [{s.base for group in side.values() for some in group for s in some} for side in WORLD.subjects]
    assert not bases[0] & bases[1]
    assert set(WORLD.heldout_groups) == set(GROUPS)
    for sample in SAMPLES:
        if sample.scene.subject is not None:
            assert sample.scene.subject.base in bases[sample.leak_of is not None]


def test_leaks_look_like_the_evaluation_picture():
    leaks = [sample for sample in SAMPLES if sample.leak_of is not None]
    near = [distance(sample.scene, evaluation_scene(WORLD, sample.leak_of)[0]) for sample in leaks]
    assert np.median(near) <= 4
    assert np.mean(np.array(near) <= 12) > 0.9


# Words.


def test_clean_captions_name_the_picture_in_different_words():
    subject = WORLD.picture_set.subjects[100]
    texts = clean_captions(subject, "teal", 3, np.random.default_rng(0))
    assert len(set(texts)) == 3
    assert all(subject.name in text for text in texts)


@pytest.mark.parametrize("seed", range(20))
def test_words_for_a_picture_stand_in_the_caption(seed):
    text = "a very long caption that tells of two red boats in the small harbour of an old town by the northern sea"
    for name in (text, "two red boats", "no such words"):
        words = words_for(text, name, np.random.default_rng(seed))
        assert words in text
        assert 0 < len(words) <= 80


def test_recorded_text_is_what_the_scene_says():
    fitting = [
        (" ".join(line.text for line in written_in(sample.scene)), sample.scene.words)
        for sample in OWN
        if sample.scene.words
    ]
    # a small picture cannot hold every caption: then its first words are written, and recorded
    assert all(words.upper().startswith(text.upper()) for text, words in fitting)
    assert np.mean([text.upper() == words.upper() for text, words in fitting]) > 0.9


# Mistakes.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shares": {**CATEGORIES, "text": 0.9}}, "sum to 1"),
        ({"noise": {"leaks": 0.1}}, "leaks.*leak"),
        ({"noise": {"leak": 1.1}}, "between 0 and 1"),
        ({"noise": {"blur": 0.6, "tiny": 0.6}}, "exclude each other"),
        ({"pictures": {"use": "openmojis"}}, "openmojis.*openmoji"),
    ],
)
def test_mistakes_are_named(fields, message):
    with pytest.raises(ValidationError, match=message):
        World(**fields)
