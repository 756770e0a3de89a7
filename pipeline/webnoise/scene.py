"""Everything that a picture of the pool is made of, decided before a pixel is drawn."""

from dataclasses import dataclass
from typing import Final

from pipeline.pictureset import Subject

__all__ = ["COLORS", "Edit", "Scene"]

COLORS: Final = {
    "white": (250, 250, 248),
    "grey": (150, 152, 156),
    "black": (24, 24, 28),
    "red": (205, 58, 52),
    "orange": (242, 150, 60),
    "yellow": (247, 214, 86),
    "green": (92, 168, 98),
    "teal": (60, 160, 160),
    "blue": (74, 118, 206),
    "purple": (138, 92, 178),
    "pink": (242, 162, 190),
    "brown": (138, 100, 72),
}
"""Background colours of drawings, which captions name; inks and papers of words too."""


@dataclass(frozen=True)
class Edit:
    """What a copy of a picture went through before it was put up elsewhere."""

    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Left, top, right and bottom of what is left of it, as shares of width and height."""
    scale: float = 1.0
    gain: float = 1.0
    """Factor of brightness."""
    quality: int = 88
    """Of the JPEG that it was saved as."""


@dataclass(frozen=True)
class Scene:
    """One picture."""

    subject: Subject | None
    """What it shows; None for the picture that stands for many that are gone."""
    color: str
    """Of the background, a key of COLORS."""
    words: str
    """Written over it, "" for none."""
    width: int
    height: int
    seed: tuple[int, ...]
    """Of the generators that decide position, texture, letters and defect."""
    format: str = "jpg"
    """"jpg", "png" or "webp"."""
    defect: str = ""
    """"blur", "jpeg" or "low_contrast" for pictures that the web has spoiled."""
    edit: Edit | None = None
    whole: bool = False
    """Show a photograph uncropped, at a longer side of `width`."""
