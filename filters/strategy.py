"""The strategy role: columns in, keep or drop out, with a reason for every drop. Arithmetic on tables, no model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from winnow.component import Component
from winnow.errors import unknown

__all__ = ["Columns", "Strategy", "Verdict"]


class Columns(Mapping[str, NDArray[Any]]):
    """Named columns of a pool, row-aligned: "meta.text", "clip.similarity", ... as NumPy arrays of n values."""

    def __init__(self, uids: NDArray[np.void], columns: Mapping[str, NDArray[Any]]) -> None:
        self.uids = uids
        self.columns = columns

    @property
    def num_samples(self) -> int:
        """Number of rows, n."""
        return len(self.uids)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.columns:
            raise unknown("column", name, self.columns)
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


@dataclass(frozen=True)
class Verdict:
    """What a strategy decided about each of n samples."""

    count: NDArray[np.uint16]
    """(n,) how often the sample goes into the subset: 0 drops it, more than 1 oversamples it."""
    reason: NDArray[np.object_]
    """(n,) str: why it was dropped, "" for a kept sample. Few distinct values: they are counted in the report."""

    @property
    def keep(self) -> NDArray[np.bool_]:
        """(n,) whether the sample is kept."""
        return self.count > 0

    @classmethod
    def of_rules(cls, num_samples: int, rules: Mapping[str, NDArray[np.bool_]]) -> "Verdict":
        """Keep what passes every rule; the reason of a drop is the first rule it fails.

        Args:
            num_samples: n.
            rules: reason in words -> (n,) bool, True where the sample passes.
        """
        reason = np.full(num_samples, "", dtype=object)
        for words, passes in rules.items():
            reason[(reason == "") & ~np.asarray(passes, dtype=bool)] = words
        return cls((reason == "").astype(np.uint16), reason)


class Strategy(Component):
    """Decide which samples of a pool to keep. The key of its config entry is the name of its subset."""

    def needs(self) -> tuple[str, ...]:
        """Return the columns it reads: "meta.<column of the shard table>" or "<scorer>.<column>"."""
        return ()

    def select(self, columns: Columns) -> Verdict:
        """Judge every sample. The verdict on a pool does not depend on the order of its rows."""
        raise NotImplementedError
