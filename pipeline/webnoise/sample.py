"""The pairs of a synthetic pool by number: caption, picture, URL and the truth, from the sample's own generator."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np

from pipeline.pictureset import Subject
from pipeline.webnoise.captions import caption, junk_caption, words_for
from pipeline.webnoise.evaluation import evaluation_scene, num_evaluated
from pipeline.webnoise.lettering import can_write
from pipeline.webnoise.scene import COLORS, Edit, Scene
from pipeline.webnoise.world import CATEGORIES, DEFECTS, ORIGINS, World

__all__ = ["Sample", "number_of", "sample_at"]

POOL = 0  # stream of the generators: no two parts of a world share a rendering
LANGUAGES = ("de", "fr", "es", "it", "pt", "tr", "ru", "ja", "zh")
FONTLESS = ("ja", "zh")  # no face that comes with the packages has their letters
SITES = ("photos", "cdn", "blog", "shop", "static", "img")
FILES = ("photo", "img", "upload", "dsc", "pic", "banner", "item")
FORMATS = ("jpg", "jpg", "jpg", "jpg", "jpg", "png", "webp")
SLANG = ("SALE 50%", "www.bestpics.example", "NEW!", "free download", "photo by Anna", "HD quality", "sample only")
PLACEHOLDERS: Final = (
    Scene(None, "grey", "image not available", 320, 240, (51,), "png"),
    Scene(None, "white", "photo removed", 400, 300, (41,), "png"),
    Scene(None, "black", "no preview", 240, 240, (3,), "png"),
)  # with seeds that set the words upright in the middle

_PATH = re.compile(r"/([0-9a-f]+)/[a-z]+-(\d{6,9})\.(?:jpg|png|webp)")

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One pair of the pool, with the truth about it."""

    url: str
    text: str
    category: str
    scene: Scene
    language: str = "en"
    """Of the caption."""
    defect: str = ""
    """One of DEFECTS, or ""."""
    junk_caption: bool = False
    placeholder: bool = False
    duplicate_of: int | None = None
    """Number of the sample whose picture this one's is a copy of."""
    leak_of: int | None = None
    """Number of the evaluation picture that this one's is a copy of."""


def sample_at(world: World, index: int) -> Sample:
    """Return pair `index` of the pool; it depends on nothing but the world's fields and the index."""
    rng = np.random.default_rng((world.seed, POOL, index))
    form = _any(FORMATS, rng)
    host = f"{_any(SITES, rng)}-{int(rng.integers(8)):02d}.winnow.test"
    url = f"http://{host}/{world.album}/{_any(FILES, rng)}-{index:06d}.{form}"
    origin = _pick(ORIGINS, world, rng)
    if origin == "near_duplicate" and (original := _original(world, index, rng)) is not None:
        return _copy(world, *original, url, form, rng)
    made = _leak(world, url, form, rng) if origin == "leak" else _pair(world, index, url, form, rng)
    if rng.random() < world.noise["junk_caption"]:
        scene = replace(made.scene, words="")
        made = replace(made, text=junk_caption(rng), category="random", scene=scene, language="en", junk_caption=True)
    if origin == "placeholder":
        scene = PLACEHOLDERS[int(rng.choice(len(PLACEHOLDERS), p=(0.7, 0.2, 0.1)))]
        made = replace(made, category="random", scene=scene, defect="", placeholder=True)
    return made


def number_of(world: World, path: str) -> int | None:
    """Return the number of the sample whose URL has this path, None for a path of another world."""
    match = _PATH.fullmatch(path)
    return int(match[2]) if match and match[1] == world.album else None


def _pair(world: World, index: int, url: str, form: str, rng: np.random.Generator) -> Sample:
    """Return a pair whose picture is its own."""
    category = tuple(CATEGORIES)[int(rng.choice(len(CATEGORIES), p=[world.shares[name] for name in CATEGORIES]))]
    drawn = world.picture_set.kind == "drawing"
    subject, color = world.pick(rng), _any(tuple(COLORS), rng)
    language = _language(world, subject, category in ("visual_and_text", "text"), rng)
    text = caption(subject, color if drawn else "", language, rng)
    shown = subject
    if category in ("random", "text"):
        shown, color = world.pick_other(subject, rng), _any(tuple(COLORS), rng)
    words = ""
    if category in ("visual_and_text", "text"):
        words = words_for(text, subject.names.get(language, subject.name), rng)
        if not can_write(words):  # a caption of the set's own in letters that no face has
            category, words = ("visual" if category == "visual_and_text" else "random"), ""
    elif category == "visual_random_text":
        name = world.pick_other(subject, rng).name
        words = _any(SLANG, rng) if rng.random() < 0.5 or not can_write(name) else words_for(name, name, rng)
    defect = _pick(DEFECTS, world, rng)
    width, height = _size(defect, drawn, rng)
    spoiled = defect if defect not in ("tiny", "banner") else ""
    scene = Scene(shown, color, words, width, height, (world.seed, POOL, index, 1), form, spoiled)
    return Sample(url, text, category, scene, language, defect)


def _original(world: World, index: int, rng: np.random.Generator) -> tuple[int, Sample] | None:
    """Draw an earlier sample with a picture of its own, None where there is hardly any."""
    for _ in range(8 if index else 0):
        number = int(rng.integers(index))
        sample = sample_at(world, number)
        if sample.duplicate_of is not None:
            number = sample.duplicate_of
            sample = sample_at(world, number)
        if not sample.placeholder and sample.leak_of is None:
            return number, sample
    return None


def _copy(world: World, number: int, original: Sample, url: str, form: str, rng: np.random.Generator) -> Sample:
    """Return a pair whose picture is a copy of another's, under the same caption or another one of the same meaning."""
    scene, text = replace(original.scene, format=form, edit=_edit(rng)), original.text
    if scene.subject is not None and original.category in ("visual", "visual_random_text") and rng.random() < 0.5:
        color = scene.color if world.picture_set.kind == "drawing" else ""
        text = caption(scene.subject, color, original.language, rng)
    return replace(original, url=url, text=text, scene=scene, duplicate_of=number)


def _leak(world: World, url: str, form: str, rng: np.random.Generator) -> Sample:
    """Return a pair whose picture is a copy of an evaluation picture."""
    number = int(rng.integers(num_evaluated(world)))
    scene, _ = evaluation_scene(world, number)
    assert scene.subject is not None
    language = _language(world, scene.subject, False, rng)
    text = caption(scene.subject, scene.color if world.picture_set.kind == "drawing" else "", language, rng)
    scene = replace(scene, format=form, edit=_edit(rng))
    return Sample(url, text, "visual", scene, language, leak_of=number)


def _edit(rng: np.random.Generator) -> Edit:
    """Draw what a copy went through: encoded anew, and perhaps cropped, scaled or brightened a little."""
    quality = int(rng.integers(55, 92))
    kind = int(rng.integers(4))
    if kind == 1:
        left, top, right, bottom = rng.uniform(0.0, 0.05, size=4)
        return Edit(crop=(float(left), float(top), 1 - float(right), 1 - float(bottom)), quality=quality)
    if kind == 2:
        return Edit(scale=float(rng.uniform(0.75, 1.2)), quality=quality)
    if kind == 3:
        return Edit(gain=float(rng.uniform(0.8, 1.2)), quality=quality)
    return Edit(quality=quality)


def _language(world: World, subject: Subject, in_picture: bool, rng: np.random.Generator) -> str:
    """Draw the caption's language; words that go into the picture keep to letters the faces have."""
    if rng.random() >= world.noise["wrong_language"]:
        return "en"
    usable = [name for name in LANGUAGES if not (in_picture and name in FONTLESS)]
    return _any([name for name in usable if name in subject.names] or usable, rng)


def _size(defect: str, drawn: bool, rng: np.random.Generator) -> tuple[int, int]:
    """Draw (width, height): mostly 220 to 420 pixels, some thumbnails, some banners."""
    if defect == "banner":
        height = int(rng.integers(96, 140))
        return int(height * rng.uniform(3.1, 4.2)), height
    low, high = (64, 199) if defect == "tiny" else (220, 420)
    width = int(rng.integers(low, high))
    if drawn:
        return width, int(rng.integers(low, high))
    return width, int(np.clip(width * rng.uniform(0.7, 1.35), low, high))  # a crop keeps most of a photograph


def _pick(kinds: Sequence[str], world: World, rng: np.random.Generator) -> str:
    """Draw at most one of kinds that exclude each other, "" for none."""
    place = rng.random()
    for kind in kinds:
        if place < world.noise[kind]:
            return kind
        place -= world.noise[kind]
    return ""


def _any(choices: Sequence[T], rng: np.random.Generator) -> T:
    """Draw one of them."""
    return choices[int(rng.integers(len(choices)))]
