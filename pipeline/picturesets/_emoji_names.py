"""Names of emoji in ten languages, from the `emoji` package; a small dictionary of everyday nouns too."""

import json
from functools import cache
from pathlib import Path

from winnow.errors import require

__all__ = ["LANGUAGES", "VARIANT", "emoji_names", "names_of"]

LANGUAGES = ("de", "fr", "es", "it", "pt", "tr", "ru", "ja", "zh")
"""Languages of names beside English."""

VARIANT = 0xFE0F  # the selector of the coloured form, which names do without


@cache
def emoji_names() -> dict[str, dict[str, str]]:
    """Return emoji (without variation selectors) -> language -> name.

    Raises:
        UserError: the `emoji` package is missing.
    """
    folder = Path(next(iter(require("emoji", "demo").__path__))) / "unicode_codes"
    names: dict[str, dict[str, str]] = {}
    english = json.loads((folder / "emoji.json").read_text(encoding="utf-8"))
    for text, entry in english.items():
        words = _words(entry["en"])
        is_flag = len(text) > 1 and 0x1F1E6 <= ord(text[0]) <= 0x1F1FF
        names[text.replace(chr(VARIANT), "")] = {"en": f"flag of {words}" if is_flag else words}
    for language in LANGUAGES:
        for text, name in json.loads((folder / f"emoji_{language}.json").read_text(encoding="utf-8")).items():
            if (entry := names.get(text.replace(chr(VARIANT), ""))) is not None:
                entry[language] = _words(name)
    return names


@cache
def names_of(english: str) -> dict[str, str]:
    """Return language -> name of a thing by its English name; "en" alone where no emoji goes by that name."""
    return {**_by_english().get(english.lower(), {}), "en": english}


@cache
def _by_english() -> dict[str, dict[str, str]]:
    """Return English name -> language -> name."""
    return {names["en"].lower(): names for names in emoji_names().values()}


def _words(name: str) -> str:
    """Turn ":face_with_tears_of_joy:" into words."""
    return name.strip(":").replace("_", " ")
