"""What a synthetic pool is made of: its pictures, how captions and pictures belong together, and what goes wrong.

Source: the shares of the categories are those of the T-MARS audit of web pairs (Maini et al. 2023, arXiv 2307.03132).
"""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from itertools import zip_longest
from typing import Any, Final

import numpy as np
from pydantic import Field, field_validator, model_validator

from pipeline.pictureset import PictureSet, Subject
from winnow.component import Component, build, digest
from winnow.errors import UserError, unknown

__all__ = ["CATEGORIES", "DEFECTS", "NOISES", "ORIGINS", "World"]

CATEGORIES: Final = {
    "random": 0.05,
    "visual": 0.45,
    "visual_random_text": 0.10,
    "visual_and_text": 0.20,
    "text": 0.20,
}
"""What of the picture matches the caption -> share: nothing, what it shows, what it shows under words of something
else, both, the words alone."""

ORIGINS: Final = ("placeholder", "leak", "near_duplicate")
DEFECTS: Final = ("tiny", "banner", "blur", "jpeg", "low_contrast")
NOISES: Final = {
    "wrong_language": 0.15,
    "junk_caption": 0.025,
    "placeholder": 0.012,
    "leak": 0.005,
    "near_duplicate": 0.05,
    "tiny": 0.08,
    "banner": 0.03,
    "blur": 0.02,
    "jpeg": 0.02,
    "low_contrast": 0.02,
}
"""What else goes wrong -> share of pairs, whatever their category. A picture has at most one of ORIGINS and at most one
of DEFECTS; a copy has the defect and the language of its original, a placeholder and a leak have no defect.
Placeholders and junk captions make the category "random"."""

VERSION = 3  # raised when the same fields come to mean other pictures or captions

Groups = dict[str, list[list[Subject]]]
"""Group -> base pictures -> their renderings."""


class World(Component):
    """What every URL of a synthetic pool stands for."""

    seed: int = 0
    pictures: dict[str, Any] = Field(default_factory=lambda: {"use": "openmoji"})
    """The picture set: `use` names a file of pipeline/picturesets/, the rest are its fields."""
    heldout_fraction: float = Field(default=0.15, ge=0.0, lt=1.0)
    """Share of the base pictures that occur in the evaluation sets and nowhere else, but for leaks."""
    num_heldout: int = Field(default=540, ge=1)
    """Pictures in each of the evaluation sets; fewer where the set holds out fewer photographs."""
    shares: Mapping[str, float] = CATEGORIES
    """Category -> share; they sum to 1."""
    noise: Mapping[str, float] = NOISES
    """Kind -> share of pairs; kinds left out have their default share."""

    @field_validator("noise")
    @classmethod
    def _check_noise(cls, given: Mapping[str, float]) -> Mapping[str, float]:
        """Fill in defaults; refuse unknown kinds and impossible shares."""
        for kind in given:
            if kind not in NOISES:
                raise unknown("noise", kind, NOISES)
        noise = {**NOISES, **given}
        if any(not 0 <= share <= 1 for share in noise.values()):
            raise ValueError("every share of noise lies between 0 and 1")
        for kinds in (ORIGINS, DEFECTS):
            if sum(noise[kind] for kind in kinds) > 1:
                raise ValueError(f"{', '.join(kinds)} exclude each other, but their shares sum to more than 1")
        return noise

    @model_validator(mode="after")
    def _check(self) -> "World":
        """Refuse unknown categories, shares that do not sum to 1 and a picture set with mistakes."""
        if set(self.shares) != set(CATEGORIES) or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares needs the keys {', '.join(CATEGORIES)}, with values that sum to 1")
        assert self.picture_set
        return self

    @cached_property
    def picture_set(self) -> PictureSet:
        """The pictures."""
        pictures: PictureSet = build("pipeline.picturesets", self.pictures, "pictures", "source")
        return pictures

    @cached_property
    def album(self) -> str:
        """First part of every path: another world has other URLs, so nobody takes its pictures for these."""
        fields = self.world().model_dump(mode="json", exclude={"pictures"})
        return digest(fields, self.picture_set.identity, VERSION)[:6]

    def world(self) -> "World":
        """Return the fields of the world alone, of a subclass too."""
        return World.model_validate(self.model_dump(include=set(World.model_fields)))

    @cached_property
    def subjects(self) -> tuple[Groups, Groups]:
        """The (shown, held-out) subjects; all renderings of one base picture are on the same side.

        Raises:
            UserError: the pool is left with fewer than two pictures.
        """
        sides: tuple[dict[str, dict[str, list[Subject]]], ...] = ({}, {})
        for subject in self.picture_set.subjects:
            place = hashlib.sha256(f"{self.seed}/{subject.base}".encode()).digest()[:8]
            side = sides[int.from_bytes(place, "big") < self.heldout_fraction * 2**64]
            side.setdefault(subject.group, {}).setdefault(subject.base, []).append(subject)
        shown, heldout = ({group: list(bases.values()) for group, bases in side.items()} for side in sides)
        if sum(map(len, shown.values())) < 2:
            raise UserError(
                f"the pool has fewer than two pictures to draw from: the set has {len(self.picture_set.subjects)}, and "
                f"heldout_fraction {self.heldout_fraction} of them are held out; give more pictures or hold out fewer"
            )
        return shown, heldout

    @cached_property
    def shown_groups(self) -> tuple[str, ...]:
        """The groups of the pool's subjects, in label order."""
        return tuple(group for group in self.picture_set.groups if group in self.subjects[0])

    @cached_property
    def heldout_groups(self) -> tuple[str, ...]:
        """The groups of the evaluation sets, in label order."""
        return tuple(group for group in self.picture_set.groups if group in self.subjects[1])

    @cached_property
    def heldout_photographs(self) -> list[Subject]:
        """The held-out subjects, the groups taking turns while they last."""
        heldout = self.subjects[1]
        queues = [[subject for base in heldout[group] for subject in base] for group in self.heldout_groups]
        return [subject for turn in zip_longest(*queues) for subject in turn if subject is not None]

    def pick(self, rng: np.random.Generator, group: str | None = None, heldout: bool = False) -> Subject:
        """Draw a group, a base picture in it and one of its renderings, each uniformly."""
        if group is None:
            group = self.shown_groups[int(rng.integers(len(self.shown_groups)))]
        bases = self.subjects[heldout][group]
        renderings = bases[int(rng.integers(len(bases)))]
        return renderings[int(rng.integers(len(renderings)))]

    def pick_other(self, subject: Subject, rng: np.random.Generator) -> Subject:
        """Draw a subject of another group; in a set of one group another picture."""
        groups = [group for group in self.shown_groups if group != subject.group]
        if groups:
            return self.pick(rng, groups[int(rng.integers(len(groups)))])
        while (other := self.pick(rng)).base == subject.base:
            pass
        return other
