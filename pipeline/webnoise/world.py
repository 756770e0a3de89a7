"""The demo's samples by number: caption, picture, URL and true category, each from the sample's own generator.

Source: the shares of the categories are those of the T-MARS audit of web pairs (Maini et al. 2023, arXiv 2307.03132).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from pydantic import Field, model_validator

from pipeline.webnoise.captions import caption, junk_caption
from pipeline.webnoise.draw import COLORS, Scene
from pipeline.webnoise.groups import GROUPS
from pipeline.webnoise.pictures import LANGUAGES, Picture, is_heldout, load_pictures
from winnow.component import Component, digest

__all__ = ["CATEGORIES", "Sample", "World"]

CATEGORIES: Final = {
    "random": 0.05,
    "visual": 0.45,
    "visual_random_text": 0.10,
    "visual_and_text": 0.20,
    "text": 0.20,
}
"""What of the picture matches the caption -> share: nothing, the drawing, the drawing under words of something else,
drawing and words, the words alone."""

VERSION = 2  # raised when the same fields come to mean other pictures or captions
POOL, TRUSTED, HELDOUT = 0, 1, 2  # streams of the generators, so that no two parts share a rendering
_SLANG = ("SALE 50%", "www.bestpics.example", "NEW!", "free download", "photo by Anna", "HD quality", "sample only")
_SITES = ("photos", "cdn", "blog", "shop", "static", "img")
_FILES = ("photo", "img", "upload", "dsc", "pic", "banner", "item")


@dataclass(frozen=True)
class Sample:
    """One pair of the pool."""

    url: str
    text: str
    category: str
    scene: Scene


class World(Component):
    """What every URL of the demo pool stands for."""

    seed: int = 0
    heldout_fraction: float = Field(default=0.15, ge=0.0, lt=1.0)
    """Share of the base pictures that occur in the evaluation sets and nowhere else."""
    foreign_fraction: float = Field(default=0.15, ge=0.0, le=1.0)
    """Share of captions in another language than English."""
    small_fraction: float = Field(default=0.10, ge=0.0, le=1.0)
    """Share of pictures with a side below 200 pixels."""
    banner_fraction: float = Field(default=0.03, ge=0.0, le=1.0)
    """Share of pictures more than three times as long as high."""
    shares: Mapping[str, float] = CATEGORIES
    """Category -> share; they sum to 1."""

    @model_validator(mode="after")
    def _check_shares(self) -> "World":
        """Refuse unknown categories and shares that do not sum to 1."""
        if set(self.shares) != set(CATEGORIES) or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares needs the keys {', '.join(CATEGORIES)}, with values that sum to 1")
        return self

    @cached_property
    def album(self) -> str:
        """First part of every path: another world has other URLs, so nobody takes its pictures for these."""
        return digest(self.world(), VERSION)[:6]

    def world(self) -> "World":
        """Return the fields of the world alone, of a subclass too."""
        return World.model_validate(self.model_dump(include=set(World.model_fields)))

    @cached_property
    def drawings(self) -> tuple[dict[str, list[list[Picture]]], dict[str, list[list[Picture]]]]:
        """The (shown, held-out) drawings: group -> base pictures -> renderings."""
        parts: tuple[dict[str, dict[str, list[Picture]]], ...] = ({}, {})
        for picture in load_pictures():
            part = parts[is_heldout(picture, self.seed, self.heldout_fraction)]
            part.setdefault(picture.group, {}).setdefault(picture.base, []).append(picture)
        shown, heldout = ({group: list(bases.values()) for group, bases in part.items()} for part in parts)
        return shown, heldout

    def pick(self, rng: np.random.Generator, group: str | None = None, heldout: bool = False) -> Picture:
        """Draw a group, a base picture in it and one of its renderings, each uniformly."""
        bases = self.drawings[heldout][group or str(rng.choice(GROUPS))]
        renderings = bases[int(rng.integers(len(bases)))]
        return renderings[int(rng.integers(len(renderings)))]

    def sample(self, index: int) -> Sample:
        """Return pair `index` of the pool; it depends on nothing but the fields and the index."""
        rng = np.random.default_rng((self.seed, POOL, index))
        category = str(rng.choice(list(CATEGORIES), p=[self.shares[name] for name in CATEGORIES]))
        subject, color = self.pick(rng), str(rng.choice(list(COLORS)))
        language = self._language(subject, "text" in category and category != "visual_random_text", rng)
        text = caption(subject, color, language, rng)
        if category == "random" and rng.random() < 0.5:
            text = junk_caption(rng)
        shown = subject
        if category in ("random", "text"):
            shown, color = self._other(subject, rng), str(rng.choice(list(COLORS)))
        words = ""
        if category in ("visual_and_text", "text"):
            words = self.words_of(text, subject.names[language], rng)
        elif category == "visual_random_text":
            words = str(rng.choice(_SLANG)) if rng.random() < 0.5 else self._other(subject, rng).name
        width, height = self._size(rng)
        form = str(rng.choice(("jpg", "png", "webp"), p=(0.7, 0.15, 0.15)))
        host = f"{rng.choice(_SITES)}-{int(rng.integers(8)):02d}.winnow.test"
        url = f"http://{host}/{self.album}/{rng.choice(_FILES)}-{index:06d}.{form}"
        scene = Scene(shown, color, words, width, height, (self.seed, POOL, index, 1), form)
        return Sample(url, text, category, scene)

    def words_of(self, text: str, name: str, rng: np.random.Generator) -> str:
        """Return caption words to write into a picture: the name alone, or the whole caption where it is short."""
        return text if rng.random() < 0.35 and len(text) <= 48 else name

    def _other(self, subject: Picture, rng: np.random.Generator) -> Picture:
        """Draw a picture of another group."""
        groups = [group for group in GROUPS if group != subject.group]
        return self.pick(rng, str(rng.choice(groups)))

    def _language(self, picture: Picture, in_picture: bool, rng: np.random.Generator) -> str:
        """Draw the caption's language; words that go into the picture keep to letters the fonts have."""
        if rng.random() >= self.foreign_fraction:
            return "en"
        languages = [name for name in LANGUAGES if name in picture.names and not (in_picture and name in ("ja", "zh"))]
        return str(rng.choice(languages)) if languages else "en"

    def _size(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw (width, height): mostly 220 to 420 pixels, some thumbnails, some banners."""
        kind = rng.random()
        if kind < self.banner_fraction:
            height = int(rng.integers(96, 140))
            return int(height * rng.uniform(3.1, 4.2)), height
        low, high = (96, 199) if kind < self.banner_fraction + self.small_fraction else (220, 420)
        return int(rng.integers(low, high)), int(rng.integers(low, high))
