"""Rows of a large pool without a Python object for each: which row a uid has, and one of a few words for every row."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Words", "rows_of"]


def rows_of(uids: NDArray[np.void], wanted: NDArray[np.void]) -> NDArray[np.int64]:
    """Return (m,) the first row at which each of m wanted uids stands among (n,) uids, -1 where it does not."""
    if len(uids) == len(wanted) and (uids == wanted).all():
        return np.arange(len(uids))
    every = np.concatenate([uids, wanted])
    order = np.lexsort((every["f1"], every["f0"]))  # stable: of equal uids the first row comes first
    fresh = np.append(True, every[order[1:]] != every[order[:-1]])[: len(order)]
    rows = np.empty(len(every), np.int64)
    rows[order] = order[fresh][np.cumsum(fresh) - 1]
    return np.where(rows < len(uids), rows, -1)[len(uids) :]


@dataclass(frozen=True)
class Words:
    """One of a few words for each of n rows."""

    code: NDArray[np.int64]
    """(n,) index into `words`."""
    words: list[str]

    def __getitem__(self, row: int) -> str:
        return self.words[int(self.code[row])]

    def equal(self, word: str) -> NDArray[np.bool_]:
        """Return (n,) whether a row has this word."""
        return np.asarray(self.code == self.words.index(word))

    def tally(self, rows: NDArray[np.bool_] | None = None) -> Counter[str]:
        """Return how many rows, of all or of some, have each word that occurs."""
        code = self.code if rows is None else self.code[rows]
        return +Counter(dict(zip(self.words, np.bincount(code, minlength=len(self.words)).tolist(), strict=True)))

    @classmethod
    def of(cls, column: pa.ChunkedArray, rows: NDArray[np.int64], num_rows: int, otherwise: str) -> "Words":
        """Put the words of a column of strings into their rows, -1 for none; null is "", the rest is `otherwise`."""
        column = column.cast(pa.string()).fill_null("").dictionary_encode().unify_dictionaries()
        words = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
        words = [*words, otherwise] if otherwise not in words else words
        code = np.full(num_rows, words.index(otherwise), np.int64)
        for start, chunk in zip(np.cumsum([0, *map(len, column.chunks)]), column.chunks, strict=False):
            target = rows[start : start + len(chunk)]
            code[target[target >= 0]] = chunk.indices.to_numpy()[target >= 0]
        return cls(code, words)
