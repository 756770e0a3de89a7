"""MetaCLIP: which entries of a vocabulary a caption contains, and the chance it has in a balanced sample.

Source: Xu et al. 2024, MetaCLIP (arXiv 2309.16671): put spaces round , . ; : ? ! and `, make white space a space, and
look for " entry " as a substring; an entry that t captions or fewer contain always fires, another one with the chance
t / count; a pair is kept if any of its entries fires. A pair with no entry is never kept.
"""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from filters.models.weights import file_sha256
from filters.pool_scorer import PoolScorer, PoolScores
from filters.strategy import Pool
from winnow.errors import UserError, require

__all__ = ["Metaclip"]

STEPS = 60
"""Of the bisection: the share is then met to the last bits of float64."""
_PUNCTUATION = re.compile(r"[,.;:?!`]")
_SPACE = re.compile(r"\s")


class Metaclip(PoolScorer):
    """Columns `probability` (float32: 1 - prod(1 - p_entry)) and `matches` (int32: distinct entries in the caption).

    The draw itself is a strategy's. Entries are compared as they are written, capitals included; one that holds one of
    the marks above can never match.
    """

    text: str = "meta.text"
    """Column of captions."""
    entries: str = ""
    """Path of a text file, one entry a line; else the lemmas of ImageNet-21k's WordNet synsets, as timm ships them."""
    ignore_case: bool = False
    """Compare captions and entries in lower case; MetaCLIP does not."""
    t: float | None = Field(default=None, gt=0)
    """Captions up to which an entry always fires: 20,000 for 400 million pairs, 170,000 for 2.5 billion."""
    target_fraction: float | None = Field(default=None, gt=0, le=1)
    """Choose t so that this share of the pool is expected to be kept, instead."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.t is None) == (self.target_fraction is None):
            raise UserError("metaclip: give either `t`, or `target_fraction` which chooses it")
        return self

    @classmethod
    def tiny(cls) -> Self:
        """Return an instance for pools of a few samples."""
        return cls(t=2)

    def needs(self) -> tuple[str, ...]:
        """Read the captions."""
        return (self.text,)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the entries' file.

        Raises:
            UserError: there is no such file.
        """
        path = self._path()
        if not path.is_file():
            raise UserError(f"metaclip: no entries at {self.entries!r}; give a text file with one entry a line")
        return {"entries": f"sha256:{file_sha256(path)}"}

    def score(self, pool: Pool) -> PoolScores:
        """Match the captions, count the entries, and give each caption its chance."""
        entries = self._read()
        matches, found = self._match(pool, entries)
        counts = np.bincount(found, minlength=len(entries))
        t = self.t or _find_t(self.target_fraction or 1.0, matches, found, counts)
        probability = _probability(t, matches, found, counts)
        return PoolScores(columns={"probability": probability.astype(np.float32), "matches": matches})

    def _match(self, pool: Pool, entries: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the (n,) number of distinct entries of each caption, and these entries, caption after caption."""
        library = require("ahocorasick_rs", "curate")
        automaton = library.AhoCorasick([f" {entry} " for entry in entries])
        matches, found = [], []
        for columns in pool.chunks([self.text]):
            texts = columns.arrow(self.text).to_pylist()
            spaced = [_spaced(text.lower() if self.ignore_case else text) for text in texts]
            ids = [sorted({m[0] for m in automaton.find_matches_as_indexes(s, overlapping=True)}) for s in spaced]
            matches.append(np.array([len(each) for each in ids], np.int32))
            found.append(np.fromiter(chain.from_iterable(ids), np.int32))
        return np.concatenate(matches), np.concatenate(found)

    def _read(self) -> list[str]:
        """Return the distinct entries."""
        lines = self._path().read_text(encoding="utf-8").splitlines()
        if not self.entries:  # "n00004475<tab>organism, being"
            lines = [lemma for line in lines for lemma in line.partition("\t")[2].split(", ")]
        entries = (line.strip().lower() if self.ignore_case else line.strip() for line in lines)
        distinct = list(dict.fromkeys(entry for entry in entries if entry))
        if not distinct:
            raise UserError(f"metaclip: {self.entries!r} holds no entries; write one a line")
        return distinct

    def _path(self) -> Path:
        """Return the file of entries."""
        if self.entries:
            return Path(self.entries)
        timm = find_spec("timm")  # importing it would import torch and a thousand models
        assert timm is not None, "timm is among the dependencies"
        return Path(str(timm.origin)).parent / "data" / "_info" / "imagenet_synset_to_lemma.txt"


def _spaced(text: str) -> str:
    """Return a caption as it is searched: marks and both ends set off by spaces."""
    return f" {_SPACE.sub(' ', _PUNCTUATION.sub(lambda mark: f' {mark[0]} ', text))} "


def _probability(
    t: float, matches: NDArray[np.int32], found: NDArray[np.int32], counts: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the (n,) chance of each caption to be kept."""
    with np.errstate(divide="ignore"):
        # the chance that an entry does not fire, as a logarithm: -inf for one that always does
        silent = np.log1p(-np.minimum(1, t / np.maximum(counts, 1)))
    caption = np.repeat(np.arange(len(matches)), matches)
    return -np.expm1(np.bincount(caption, weights=silent[found], minlength=len(matches)))


def _find_t(fraction: float, matches: NDArray[np.int32], found: NDArray[np.int32], counts: NDArray[Any]) -> float:
    """Return the t at which the mean chance is `fraction`, by bisection: it grows with t.

    Raises:
        UserError: even with every entry firing, fewer captions are kept.
    """
    most = float((matches > 0).mean())
    if fraction > most:
        raise UserError(
            f"metaclip: `target_fraction` is {fraction}, but only {most:.4f} of the captions contain an entry; "
            "lower it or give more `entries`"
        )
    low, high = 0.0, float(counts.max())
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _probability(middle, matches, found, counts).mean() < fraction:
            low = middle
        else:
            high = middle
    return high
