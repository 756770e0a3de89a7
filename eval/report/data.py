"""What a report shows, as plain data: `collect` fills it from files, `page` turns it into HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.statistics import Estimate

__all__ = [
    "Comparison",
    "Curve",
    "Gallery",
    "Grid",
    "Histogram",
    "Pair",
    "PoolIdentity",
    "ReportData",
    "Result",
    "Stage",
    "StrategyRow",
    "TruthRow",
    "mean_results",
]


@dataclass(frozen=True)
class PoolIdentity:
    """Which samples of the pool this run had."""

    fingerprint: str
    """The name of the set of uids that were obtained."""
    obtained: int
    asked: int
    """Different uids, each."""


@dataclass(frozen=True)
class Stage:
    """One line of the funnel."""

    label: str
    count: int
    details: dict[str, int] = field(default_factory=dict)
    """What was lost here, by reason."""


@dataclass(frozen=True)
class StrategyRow:
    """One subset."""

    name: str
    kept: int
    """Different samples kept."""
    copies: int
    """Samples with repeats."""
    total: int
    reasons: dict[str, int]
    """Drops by reason, most frequent first."""
    is_random: bool
    """Whether every drop was by lot: a control, not a filter."""


@dataclass(frozen=True)
class Histogram:
    """The distribution of one score."""

    column: str
    groups: dict[str, NDArray[np.float64]]
    """Values by true category, or one group "all"."""
    cuts: dict[str, float]
    """Strategy -> its threshold on this score."""
    missing: int


@dataclass(frozen=True)
class Pair:
    """One sample to look at."""

    uid: str
    caption: str
    picture: str
    """data: URI, "" where the picture could not be read."""
    masked: str
    """data: URI of the picture with its text painted over, "" where it has none."""
    width: int
    height: int
    boxes: tuple[tuple[tuple[float, float], ...], ...]
    """Outlines of text in pixels of the stored picture of size (width, height)."""
    scores: dict[str, float]
    reason: str
    category: str


@dataclass(frozen=True)
class Gallery:
    """Pairs of one kind."""

    strategy: str
    title: str
    pairs: list[Pair]
    with_masked: bool
    """Whether the masked pictures matter here and stand beside the originals."""


@dataclass(frozen=True)
class TruthRow:
    """How a strategy's choice compares with what is known about the pairs."""

    strategy: str
    precision: Estimate
    """Share of kept pairs whose picture shows what the caption says."""
    recall: Estimate
    """Share of such pairs that were kept."""
    kept: dict[str, tuple[int, int, Estimate]]
    """Category -> kept, of how many, share."""


@dataclass(frozen=True)
class Result:
    """One task's outcome for one model."""

    system: str
    subset: str
    seed: str
    task: str
    metrics: dict[str, float | None]
    num_samples: int
    interval: Estimate | None
    samples_seen: int | None
    notes: dict[str, Any]
    main_metric: str = ""
    """Which of `metrics` is compared; "" in results of versions that did not write it."""


@dataclass(frozen=True)
class Comparison:
    """Two subsets under one recipe and task, on the same test examples."""

    system: str
    task: str
    first: str
    second: str
    difference: Estimate
    """Main metric of the first minus that of the second; the intervals of one table hold together at 95 %."""
    p_value: float | None
    """Exact McNemar over examples; None where outcomes are not right or wrong, classes weigh equally, or several seeds
    are averaged."""
    num_seeds: int


@dataclass(frozen=True)
class Grid:
    """Pictures that a generator drew for fixed captions from fixed noise."""

    subset: str
    task: str
    picture: str
    captions: list[str]
    columns: int


@dataclass(frozen=True)
class Curve:
    """One training run's loss."""

    system: str
    subset: str
    label: str
    x: list[float]
    y: list[float]


@dataclass
class ReportData:
    """Everything the page shows; an empty field leaves its section out."""

    title: str
    command: str
    pool: PoolIdentity | None = None
    stages: list[Stage] = field(default_factory=list)
    strategies: list[StrategyRow] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)
    galleries: list[Gallery] = field(default_factory=list)
    overlap: NDArray[np.float64] | None = None
    """(s, s) Jaccard index of the strategies, in their order."""
    truth: list[TruthRow] = field(default_factory=list)
    good: tuple[str, ...] = ()
    """True categories in which the picture shows what the caption says."""
    results: list[Result] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    config: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    attribution: str = ""
    notes: list[str] = field(default_factory=list)
    """What could not be read."""

    def control(self, strategy: str) -> str | None:
        """Return the random subset nearest in size to a strategy's, None where none is within 2 % of it."""
        size = next((row.kept for row in self.strategies if row.name == strategy), 0)
        lots = [row for row in self.strategies if row.is_random and row.name != strategy]
        near = min(lots, key=lambda row: abs(row.kept - size), default=None)
        return near.name if near is not None and abs(near.kept - size) <= 0.02 * size else None

    def is_random(self, strategy: str) -> bool:
        """Tell whether a subset was drawn by lot."""
        return any(row.is_random for row in self.strategies if row.name == strategy)

    def is_control(self, strategy: str) -> bool:
        """Tell whether a subset is no filter's choice: everything, or drawn by lot."""
        return strategy == "no_filter" or self.is_random(strategy)


def mean_results(results: Sequence[Result]) -> list[Result]:
    """Average over seeds and sort by main metric, best first; intervals are those of the mean's first seed, moved."""
    out = []
    for subset in sorted({result.subset for result in results}):
        mine = [r for r in results if r.subset == subset and r.metrics.get("main_metric") is not None]
        if not mine:
            continue
        mean = sum(r.metrics["main_metric"] or 0.0 for r in mine) / len(mine)
        first = mine[0]
        interval = first.interval
        if interval is not None:
            move = mean - interval.value
            interval = Estimate(mean, interval.low + move, interval.high + move)
        out.append(replace(first, metrics={**first.metrics, "main_metric": mean}, interval=interval))
    sign = 1 if any(result.notes.get("lower_is_better") for result in results) else -1
    return sorted(out, key=lambda result: (sign * (result.metrics["main_metric"] or 0.0), result.subset))
