"""The first sense of a word, from a folder of WordNet database files, in the order in which NLTK lists senses.

Format: wndb(5) and morphy(7) of WordNet 3.0 (Fellbaum 1998). Parts of speech come in the order noun, verb, adjective,
adverb; within one, the forms that `morphy` finds come in its order, and a form's senses in that of its index line.
"""

from collections.abc import Container
from pathlib import Path

from winnow.errors import UserError

__all__ = ["WordNet", "base_forms"]

FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
ENDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "n": (
        ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
        ("men", "man"), ("ies", "y"),
    ),
    "v": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}  # fmt: skip
"""Rules of detachment: ending -> what replaces it."""


class WordNet:
    """Lemmas and the first synset of each.

    Args:
        folder: holds `index.noun`, ..., and `noun.exc`, ... (the folder `dict` of WordNet 3.0).

    Raises:
        UserError: a file is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.first = {pos: _read_index(folder / f"index.{name}") for pos, name in FILES.items()}
        """Part of speech -> lemma (lower case, words joined by _) -> offset of its first synset."""
        self.irregular = {pos: _read_exceptions(folder / f"{name}.exc") for pos, name in FILES.items()}
        """Part of speech -> inflected form -> base forms."""

    def first_synset(self, word: str, parts: str = "nvar") -> tuple[str, int] | None:
        """Return part of speech and offset of the first of the word's senses, None for an unknown word.

        Args:
            word: in any case, inflected or not.
            parts: the parts of speech to look at, in this order.
        """
        word = word.lower()
        for pos in parts:
            lemmas = self.first[pos]
            irregular = self.irregular[pos].get(word)
            if irregular is None:
                forms = base_forms(word, lemmas, pos)
            else:
                forms = [form for form in (word, *irregular) if form in lemmas]
            if forms:
                return pos, lemmas[forms[0]]
        return None

    @staticmethod
    def files(folder: Path) -> list[Path]:
        """Return the files that are read."""
        return [folder / name for each in FILES.values() for name in (f"index.{each}", f"{each}.exc")]


def base_forms(word: str, lemmas: Container[str], pos: str = "n") -> list[str]:
    """Return the known lemmas that a word may be a regular inflection of, itself included, in order.

    Endings are detached once, and again only as long as nothing is known.
    """
    forms = [word]
    detached = forms
    while True:
        detached = [form[: -len(old)] + new for form in detached for old, new in ENDINGS[pos] if form.endswith(old)]
        forms += detached
        known = [form for form in forms if form in lemmas]
        if known or not detached:
            return known
        forms = []


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(
            f"no {path.name!r} in {str(path.parent)!r}: give the folder `dict` of WordNet 3.0, with index.noun, "
            "noun.exc and the same of verb, adj and adv (the package `wordnet-base` of Debian and Ubuntu has them in "
            "/usr/share/wordnet, NLTK's corpus `wordnet` in corpora/wordnet)"
        )
    return path.read_text("utf-8").splitlines()


def _read_index(path: Path) -> dict[str, int]:
    """Return lemma -> first offset: `lemma pos synset_cnt p_cnt [ptr...] sense_cnt tagsense_cnt offset...`."""
    first = {}
    for line in _lines(path):
        if not line.startswith(" "):  # the licence
            fields = line.split()
            first[fields[0]] = int(fields[6 + int(fields[3])])
    return first


def _read_exceptions(path: Path) -> dict[str, list[str]]:
    return {fields[0]: fields[1:] for line in _lines(path) if (fields := line.split())}
