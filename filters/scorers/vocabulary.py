"""Whether the caption names an ImageNet class: the rule of DataComp's text_based filter, and a corrected one.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108); WordNet 3.0 (Fellbaum 1998).
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import PrivateAttr, model_validator

from filters.models.weights import file_sha256
from filters.scorer import Batch, Scorer
from filters.text.wordnet import WordNet, base_forms
from winnow.errors import UserError

__all__ = ["Vocabulary"]

CLASSES = {"imagenet21k": "imagenet21k_goog_synsets.txt", "imagenet1k": "imagenet_synsets.txt"}
"""Lists of WordNet ids that timm carries; the first is, byte by byte, the one that DataComp pins."""
LEMMAS = "imagenet_synset_to_lemma.txt"
WORD = re.compile(r"[^\W_]+(?:['’.&-][^\W_]+)*")


class Vocabulary(Scorer):
    """Columns `match` (bool) and `num_matches` (int32), the matching words or phrases of the caption.

    Three rules:
    - `wordnet` given and `compat`: DataComp's. A match is a token, as whitespace separates them, whose first synset
      (whatever its part of speech) has the offset of a class. "dog," is no match; a verb can be one by its offset.
    - `wordnet` given: words without punctuation in any case, the longest phrase that WordNet has as a noun first; a
      match is a phrase whose first noun synset is a class.
    - neither: the same, but the phrases known are the names of the classes alone (from timm), so any sense counts:
      "crane" matches the machine and the bird, whichever WordNet puts first. Names in capitals match in capitals.
    """

    wants_images: ClassVar[bool] = False

    wordnet: str = ""
    """Folder `dict` of WordNet 3.0, with index.noun and so on; empty takes the names of the classes."""
    classes: Literal["imagenet21k", "imagenet1k"] = "imagenet21k"
    """The classes to look for."""
    compat: bool = False
    """DataComp's rule to the letter; needs `wordnet`."""

    _lookup: Any = PrivateAttr(None)
    _longest: dict[str, int] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _rule_exists(self) -> Self:
        if self.compat and not self.wordnet:
            raise ValueError(
                "`compat: true` is DataComp's rule over WordNet's senses; give the folder of WordNet 3.0 in `wordnet`"
            )
        return self

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the word lists."""
        words = WordNet.files(Path(self.wordnet)) if self.wordnet else [_info(LEMMAS)]
        if missing := [path for path in words if not path.is_file()]:
            raise UserError(
                f"no {missing[0].name!r} in `wordnet: {self.wordnet}`; give the folder `dict` of WordNet 3.0"
            )
        hashes = " ".join(file_sha256(path) for path in (_info(CLASSES[self.classes]), *words))
        return {"words": hashlib.sha256(hashes.encode()).hexdigest()}

    def setup(self) -> None:
        """Read the word lists."""
        ids = _info(CLASSES[self.classes]).read_text().split()
        if not self.wordnet:
            self._lookup, phrases = _names(set(ids))
        else:
            wordnet = WordNet(Path(self.wordnet))
            self._lookup = _first_sense(wordnet, ids, "nvar" if self.compat else "n")
            phrases = [] if self.compat else [lemma.replace("_", " ") for lemma in wordnet.first["n"]]
        self._lookup = lru_cache(maxsize=1 << 16)(self._lookup)
        self._longest = {}
        for phrase in phrases:
            first, _, rest = phrase.partition(" ")
            if rest:
                self._longest[first] = max(self._longest.get(first, 1), phrase.count(" ") + 1)

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Look the words of each caption up."""
        count = self._tokens if self.compat else self._phrases
        matches = np.array([count(caption) for caption in batch.captions], np.int32)
        return {"match": matches > 0, "num_matches": matches}

    def _tokens(self, caption: str) -> int:
        return sum(self._lookup(token) or False for token in caption.split())

    def _phrases(self, caption: str) -> int:
        """Count the matches among the longest known phrases from left to right."""
        words = [word.replace("’", "'") for word in WORD.findall(caption)]
        matches = start = 0
        while start < len(words):
            stop = min(start + self._longest.get(words[start].casefold(), 1), len(words))
            while (known := self._lookup(" ".join(words[start:stop]))) is None and stop > start + 1:
                stop -= 1
            matches += known or False
            start = stop
        return matches


Lookup = Callable[[str], bool | None]
"""Phrase -> whether it is a class; None where it is not known at all."""


def _first_sense(wordnet: WordNet, ids: list[str], parts: str) -> Lookup:
    """Return the lookup by first synset: its offset alone is compared, as all ids are nouns'."""
    offsets = {int(wnid[1:]) for wnid in ids}

    def lookup(phrase: str) -> bool | None:
        synset = wordnet.first_synset(phrase.replace(" ", "_"), parts)
        return None if synset is None else synset[1] in offsets

    return lookup


def _names(ids: set[str]) -> tuple[Lookup, list[str]]:
    """Return the lookup among the names of the classes, and those names."""
    lines = (line.split("\t") for line in _info(LEMMAS).read_text("utf-8").splitlines())
    names = {" ".join(WORD.findall(name)) for wnid, text in lines if wnid in ids for name in text.split(", ")}
    names = {name for name in names if len(name) > 1}  # "A" and the like would match every caption
    capitals = {name for name in names if name.isupper()}  # "OR", the operating room
    folded = {name.casefold() for name in names - capitals}

    def lookup(phrase: str) -> bool | None:
        return True if phrase in capitals or base_forms(phrase.casefold(), folded) else None

    return lookup, [name.casefold() for name in names]


def _info(name: str) -> Path:
    """Return a list that lies in timm.

    Raises:
        UserError: this timm has none.
    """
    spec = find_spec("timm")  # importing it would load torch
    assert spec is not None, "timm is a dependency"
    path = Path(str(spec.origin)).parent / "data" / "_info" / name
    if not path.is_file():
        raise UserError(f"no {name!r} in the installed timm; install timm>=0.9")
    return path
