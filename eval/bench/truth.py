"""What strategies keep of pairs whose truth is known: kept share by group, precision, recall, differences.

Intervals resample the pairs. A pair matters only by its group and by whether it is kept, so a resample is a draw of how
often each such cell occurs: the same distribution as drawing pairs one by one, at a cost that no pool size changes.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.bench.data import Group, StrategyTruth, Truth
from eval.statistics import Estimate

__all__ = ["Pairs"]

Bools = NDArray[np.bool_]


class Pairs:
    """The pairs of a pool, n of them, with their truth."""

    def __init__(self, category: Sequence[str], flags: Mapping[str, Bools], good: Sequence[str]) -> None:
        """Sort pairs into cells of equal truth.

        Args:
            category: (n,) the true category of each pair.
            flags: name -> (n,) whatever else is true of each pair.
            good: categories whose picture shows what the caption says.
        """
        names, code = np.unique(np.array(category, dtype=str), return_inverse=True)
        truth = np.column_stack([code, *flags.values()]).astype(np.int64)
        cells, self._cell = np.unique(truth, axis=0, return_inverse=True)
        self._cell = self._cell.reshape(-1)
        sizes = np.bincount(self._cell, minlength=len(cells))
        in_category = cells[:, 0, None] == np.arange(len(names))
        self._member = np.column_stack([in_category, cells[:, 1:]]).astype(np.float64)
        self._good = in_category[:, np.isin(names, good)].any(axis=1).astype(np.float64)
        labels = [(str(name), "category", str(name) in good) for name in names]
        labels += [(name, "flag", False) for name in flags]
        counts = (sizes @ self._member).astype(int)
        self.groups = [Group(*label[:2], int(count), label[2]) for label, count in zip(labels, counts, strict=True)]
        self.num_samples = len(self._cell)

    def truth(self, keep: Mapping[str, Bools], draws: int, seed: int = 0) -> Truth:
        """Return what each strategy kept.

        Args:
            keep: strategy -> (n,) whether each pair is kept.
            draws: number of resamples.
            seed: of the resampling; strategies do not influence each other's intervals.
        """
        return Truth(self.num_samples, self.groups, [self._one(name, kept, draws, seed) for name, kept in keep.items()])

    def difference(self, first: Bools, second: Bools, draws: int, seed: int = 0) -> dict[str, Estimate]:
        """Return what one strategy keeps more of than another one, of the same pairs.

        Args:
            first: (n,) whether the first keeps each pair.
            second: (n,) whether the second does.
            draws: number of resamples.
            seed: of the resampling.

        Returns:
            group -> difference of kept shares, first minus second; "precision" and "recall" likewise.
        """
        changes = []
        for counts in self._counts([first, second], draws, seed):
            here, there = self._shares(counts.sum(axis=3)), self._shares(counts.sum(axis=2))
            changes.append({name: here[name] - there[name] for name in here if name != "all"})
        point, spread = changes
        return {name: _estimate(point[name], spread[name]) for name in point}

    def _one(self, name: str, keep: Bools, draws: int, seed: int) -> StrategyTruth:
        """Return what one strategy kept."""
        point, spread = (self._shares(counts) for counts in self._counts([keep], draws, seed))
        found = {name: _estimate(point[name], spread[name]) for name in point}
        kept = np.bincount(self._cell[keep], minlength=len(self._member)) @ self._member
        groups = {group.name: (int(count), found[group.name]) for group, count in zip(self.groups, kept, strict=True)}
        return StrategyTruth(name, int(keep.sum()), found["all"], found["precision"], found["recall"], groups)

    def _counts(self, keeps: Sequence[Bools], draws: int, seed: int) -> list[NDArray[np.int64]]:
        """Return how often each cell occurs, in the pool and in resamples of it.

        Args:
            keeps: (n,) each.
            draws: number of resamples.
            seed: of the resampling.

        Returns:
            two arrays (1 or draws, cells, 2, ..., 2) with an axis for each strategy: dropped, kept.
        """
        joint = self._cell
        for keep in keeps:
            joint = joint * 2 + keep
        shape = (len(self._member), *(2 for _ in keeps))
        counts = np.bincount(joint, minlength=int(np.prod(shape)))
        share = counts / max(1, self.num_samples)
        resampled = np.random.default_rng(seed).multinomial(self.num_samples, share, size=draws)
        return [counts.reshape(1, *shape), resampled.reshape(draws, *shape)]

    def _shares(self, counts: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return kept share by group, of all, precision and recall from (d, cells, 2) counts; (d,) each."""
        kept, size = counts[..., 1], counts.sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):  # no pairs of a group: its share is NaN
            shares = (kept @ self._member) / (size @ self._member)
            out = {group.name: shares[:, column] for column, group in enumerate(self.groups)}
            out["all"] = kept.sum(axis=1) / size.sum(axis=1)
            out["precision"] = (kept @ self._good) / kept.sum(axis=1)
            out["recall"] = (kept @ self._good) / (size @ self._good)
        return out


def _estimate(point: NDArray[np.float64], draws: NDArray[np.float64]) -> Estimate:
    """Return a value with the percentile interval of its resamples; NaN where it is not defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # undefined in every resample
        low, high = np.nanquantile(draws, [0.025, 0.975])
    return Estimate(float(point[0]), float(low), float(high))
