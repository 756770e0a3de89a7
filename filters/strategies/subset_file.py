"""Keep what a subset file lists: one that DataComp or others published, or that `winnow subset` made.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), the subset files of its baselines; see `filters.subset`.
"""

import logging
import tempfile
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np

from filters.strategy import Columns, Judge, Pool, Strategy, Verdict
from filters.subset import counts, read_subset, unique, write_subset
from winnow.inputs import InputFile, read_input
from winnow.uid import UID

__all__ = ["SubsetFile"]

_log = logging.getLogger(__name__)


class SubsetFile(Strategy):
    """Keep each sample as often as its uid is in the file; uids that the pool lacks are counted in the log."""

    path: InputFile
    """A subset file: sorted uids, dtype "u8,u8", as .npy or bare; local or an fsspec URL."""

    @classmethod
    def tiny(cls) -> Self:
        """An empty subset."""
        return cls(path=str(Path(_folder().name) / "empty.npy"))

    def fit(self, pool: Pool) -> Judge:
        """Read the file and see what the pool has of it."""
        subset = read_subset(read_input(self.path), self.path)
        listed = unique(subset)
        missing = len(listed) - sum(int(counts(listed, columns.uids).sum()) for columns in pool.chunks([]))
        if missing:
            _log.warning("%s: %d of its %d uids are not in the pool", self.path, missing, len(listed))

        def judge(columns: Columns) -> Verdict:
            found = np.minimum(counts(subset, columns.uids), np.iinfo(np.uint16).max)
            return Verdict.of_counts(found, "not in the subset file")

        return judge


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder with an empty subset, gone when the process ends."""
    folder = tempfile.TemporaryDirectory()
    (Path(folder.name) / "empty.npy").write_bytes(write_subset(np.zeros(0, UID)))
    return folder
