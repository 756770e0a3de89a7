"""The picture set role: labelled or captioned pictures that a synthetic pool is drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from PIL import Image

from winnow.component import Component, digest

__all__ = ["PictureSet", "Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One picture of a set and what is known about it."""

    id: str
    """Its identity within the set; the order of subjects is that of their ids."""
    names: Mapping[str, str] = field(hash=False)
    """Language -> name in words; always has "en"."""
    group: str
    """Its class; "" in a set that has captions and no classes."""
    base: str
    """What it is a rendering of: subjects that share it stay on one side of the held-out split."""
    caption: str = ""
    """Its own caption, "" where captions are made from the name."""

    @property
    def name(self) -> str:
        """The English name."""
        return self.names["en"]


class PictureSet(Component):
    """Subjects and their pictures."""

    kind: ClassVar[Literal["drawing", "photograph"]] = "photograph"
    """A drawing is placed on a background; a photograph fills the picture."""
    attribution: ClassVar[str] = ""
    """Whom a page that shows the pictures has to name."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions decide the pixels."""

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """All subjects, sorted by id.

        Raises:
            UserError: there is none, or what they are read from is missing.
        """
        raise NotImplementedError

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The classes in the order of their labels; ("",) where there are none."""
        return tuple(sorted({subject.group for subject in self.subjects}))

    @cached_property
    def identity(self) -> str:
        """A hash of all ids, names, groups and captions: sets that share it give the same URLs and captions."""
        return digest([(each.id, dict(each.names), each.group, each.base, each.caption) for each in self.subjects])

    def files(self) -> list[Path]:
        """Return the files whose change makes other pictures."""
        return []

    def picture(self, subject: Subject, side: int) -> Image.Image:
        """Return a subject's picture.

        Args:
            subject: one of `subjects`.
            side: wanted width and height of a drawing in pixels; photographs come as they are.

        Returns:
            RGBA (side, side) of a drawing; RGB of a photograph.
        """
        raise NotImplementedError
