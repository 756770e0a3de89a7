"""What a stage costs: parts per worker, per unit and per sample, by least squares from finished units."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

__all__ = ["Cost", "Observation", "fit"]

PULL = 0.1
"""Weight of the reference's proportions against one finished unit: enough to decide what the units leave open."""


@dataclass(frozen=True)
class Observation:
    """One finished unit of a stage."""

    samples: int
    amount: float
    """What it cost: seconds, or bytes that it left."""
    first: bool = False
    """It was the first of its worker, which loaded libraries and models during it."""
    pool: int = 0
    """Samples of the pool that the worker read on top of its unit, once: where the stage does so, 0 elsewhere."""


@dataclass(frozen=True)
class Cost:
    """Seconds or bytes as a linear function of the work; no term is negative."""

    per_worker: float = 0.0
    per_worker_sample: float = 0.0
    """For every sample of the pool, in every worker."""
    per_unit: float = 0.0
    per_sample: float = 0.0

    def worker(self, pool: float) -> float:
        """Return what a worker costs beside its units."""
        return self.per_worker + self.per_worker_sample * pool

    def units(self, units: float, samples: float) -> float:
        """Return what units with so many samples altogether cost."""
        return self.per_unit * units + self.per_sample * samples

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def fit(observations: Sequence[Observation], shape: Cost | None = None) -> Cost:
    """Separate the fixed costs from the cost per sample.

    Non-negative least squares, so that units like these cost on the average what these did. Units of one size cannot
    tell a fixed cost from one per sample, and a single unit cannot tell anything: what is left open follows the
    proportions of `shape`, at the level measured.

    Args:
        observations: at least one.
        shape: costs measured elsewhere, of which the proportions matter; without it all is taken to be per sample.
    """
    from scipy.optimize import nnls

    amounts = np.array([each.amount for each in observations], dtype=float)
    if not amounts.any():
        return Cost()
    work = np.array([[each.first, each.first * each.pool, 1.0, each.samples] for each in observations])  # (n, 4)
    told = np.array(astuple(shape or Cost()))
    for guess in (Cost(per_sample=1.0), Cost(per_unit=1.0)):
        if not (work @ told).any():  # it says nothing of what these units have
            told = np.array(astuple(guess))
    told *= amounts.sum() / (work @ told).sum()
    size, used = work.max(axis=0), work > 0
    size[size == 0] = 1.0  # of a term that no unit has
    # unknown is each term's share in the mean cost of the units that have it
    size /= np.where(used.any(axis=0), used.T @ amounts / used.sum(axis=0).clip(1), 1.0).clip(amounts.mean() / 100)
    lines = np.vstack([work / size / amounts.mean(), PULL * np.eye(len(size))])
    shares, _ = nnls(lines, np.concatenate([amounts / amounts.mean(), PULL * told * size]))
    return Cost(*(shares / size).tolist())
