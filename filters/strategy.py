"""The strategy role: columns in, keep or drop out, with a reason for every drop. Arithmetic on tables, no model.

A verdict comes in two steps. `fit` looks at the pool as a whole, a chunk at a time, and returns a judge: it finds the
threshold that keeps 30 %, say. The judge then rules on rows by themselves, so a pool of any size is judged in chunks.
A strategy whose rule needs no look at the pool writes `judge` alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from winnow.columns import to_numpy
from winnow.component import Component
from winnow.errors import unknown

__all__ = ["Columns", "Judge", "Pool", "Strategy", "Verdict"]


class Pool(Protocol):
    """All samples of a pool, readable a chunk at a time, as often as need be."""

    @property
    def num_samples(self) -> int:
        """Number of rows, n."""
        ...

    def chunks(self, names: Iterable[str]) -> Iterator["Columns"]:
        """Yield the named columns and the uids of some rows at a time, always in the same order."""
        ...


class Columns(Mapping[str, NDArray[Any]]):
    """Named columns of some rows, row-aligned: "meta.text", "clip.similarity", ... of n values each; a `Pool` too.

    A column is held as a NumPy or an Arrow array and handed out as either: text is cheapest as Arrow (`arrow`), numbers
    as NumPy (`[]`), where missing numbers are NaN and other missing values None. An embedding per row is (n, d), NaN
    where missing.
    """

    def __init__(self, uids: NDArray[np.void], columns: Mapping[str, Any]) -> None:
        """Hold columns.

        Args:
            uids: (n,) dtype "u8,u8".
            columns: name -> (n,) NumPy array, pyarrow array or chunked array.
        """
        self.uids = uids
        self.columns = dict(columns)

    @property
    def num_samples(self) -> int:
        """Number of rows, n."""
        return len(self.uids)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.columns:
            raise unknown("column", name, self.columns)
        values = self.columns[name]
        if isinstance(values, np.ndarray):
            return values
        chunked = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
        if pa.types.is_dictionary(chunked.type):  # pyarrow hands out the last of the dictionary for a null
            chunked = chunked.cast(chunked.type.value_type)
        if not pa.types.is_fixed_size_list(chunked.type):
            return chunked.to_numpy()  # type: ignore[no-any-return]
        vectors = to_numpy(chunked)
        if chunked.null_count:
            vectors = np.where(chunked.is_null().to_numpy()[:, None], np.array(np.nan, vectors.dtype), vectors)
        return vectors

    def arrow(self, name: str) -> pa.Array:
        """Return a column as an Arrow array, null where the value is missing (NaN too)."""
        if name not in self.columns:
            raise unknown("column", name, self.columns)
        values = self.columns[name]
        if isinstance(values, pa.ChunkedArray):
            return values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
        return pa.array(values, from_pandas=True) if isinstance(values, np.ndarray) else values

    def take(self, rows: Any, names: Iterable[str] | None = None) -> "Columns":
        """Return some rows, of some columns or of all.

        Args:
            rows: a slice, (n,) bool or (m,) integers.
            names: the columns.
        """
        columns = {name: self.columns[name] for name in (self if names is None else names)}
        return Columns(self.uids[rows], {name: _take(values, rows) for name, values in columns.items()})

    def chunks(self, names: Iterable[str]) -> Iterator["Columns"]:
        """Yield all rows at once: columns in memory are a pool of one chunk."""
        missing = next((name for name in names if name not in self.columns), None)
        if missing is not None:
            raise unknown("column", missing, self.columns)
        yield self

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def _take(values: Any, rows: Any) -> Any:
    """Return some rows of a NumPy or Arrow array, as what it is."""
    if isinstance(values, np.ndarray) or isinstance(rows, slice):
        return values[rows]
    return values.filter(pa.array(rows)) if rows.dtype == bool else values.take(pa.array(rows))


@dataclass(frozen=True)
class Verdict:
    """What a strategy decided about each of n samples."""

    count: NDArray[np.uint16]
    """(n,) how often the sample goes into the subset: 0 drops it, more than 1 oversamples it."""
    code: NDArray[np.uint16]
    """(n,) index into `reasons`: 0 for a kept sample, otherwise why it was dropped."""
    reasons: tuple[str, ...]
    """Distinct reasons in words, few of them; the first is "", the reason of a kept sample."""

    @property
    def keep(self) -> NDArray[np.bool_]:
        """(n,) whether the sample is kept."""
        return self.count > 0

    @property
    def reason(self) -> NDArray[np.object_]:
        """(n,) str: why it was dropped, "" for a kept sample."""
        return np.array(self.reasons, dtype=object)[self.code]

    @classmethod
    def of_rules(cls, num_samples: int, rules: Mapping[str, Any]) -> "Verdict":
        """Keep what passes every rule, once; the reason of a drop is the first rule it fails.

        Args:
            num_samples: n.
            rules: reason in words -> (n,) bool, True where the sample passes.
        """
        code = np.zeros(num_samples, dtype=np.uint16)
        for number, passes in reversed(list(enumerate(rules.values(), start=1))):  # the first rule has the last word
            np.copyto(code, np.uint16(number), where=~np.asarray(passes, dtype=bool))
        return cls((code == 0).astype(np.uint16), code, ("", *rules))

    @classmethod
    def of_counts(cls, count: NDArray[Any], words: str) -> "Verdict":
        """Keep each sample `count` times; what is kept 0 times is dropped for the reason `words`."""
        count = np.asarray(count).astype(np.uint16)
        return cls(count, (count == 0).astype(np.uint16), ("", words))


Judge = Callable[[Columns], Verdict]
"""Rules on rows by themselves: the verdict on a row does not depend on the rows that it is asked about with."""


class Strategy(Component):
    """Decide which samples of a pool to keep. The key of its config entry is the name of its subset."""

    def needs(self) -> tuple[str, ...]:
        """Return the columns it reads: "meta.<column of the shard table>" or "<scorer>.<column>"."""
        return ()

    def judge(self, columns: Columns) -> Verdict:
        """Rule on each row by itself. A strategy writes this, or `fit` where a rule depends on the whole pool."""
        raise NotImplementedError

    def fit(self, pool: Pool) -> Judge:
        """Look at the whole pool and return the judge of its rows; neither depends on the order of rows or chunks."""
        return self.judge

    def select(self, columns: Columns) -> Verdict:
        """Judge columns in memory as a pool of their own."""
        return self.fit(columns)(columns)
