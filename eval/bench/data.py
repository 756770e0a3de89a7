"""What a comparison of filters found out, as plain data: made from files, written as JSON, Markdown and HTML."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from eval.statistics import Estimate

__all__ = ["Answer", "Bench", "Comparison", "Group", "Score", "SeedTest", "StrategyTruth", "Table", "Truth", "as_json"]


@dataclass(frozen=True)
class Group:
    """Pairs that have something in common, by the pool's truth."""

    name: str
    kind: str
    """"category": every pair has one; "flag": a pair may have several or none."""
    size: int
    is_good: bool
    """Whether the picture shows what the caption says; False for flags."""


@dataclass(frozen=True)
class StrategyTruth:
    """What a strategy kept; intervals are percentiles of the bootstrap over samples."""

    name: str
    kept: int
    """Different pairs kept."""
    share: Estimate
    """Of all pairs."""
    precision: Estimate
    """Share of kept pairs that are good."""
    recall: Estimate
    """Share of good pairs that are kept."""
    groups: dict[str, tuple[int, Estimate]]
    """Group -> how many kept, which share of it."""


@dataclass(frozen=True)
class Truth:
    """What the strategies kept, against what is known about the pairs."""

    num_samples: int
    groups: list[Group]
    strategies: list[StrategyTruth]


@dataclass(frozen=True)
class Score:
    """One subset's models under one recipe, task and metric."""

    subset: str
    by_seed: dict[str, float]
    """Training seed -> score."""
    mean: Estimate
    """Over the seeds, with Student's interval; of one seed, with the bootstrap interval of the test set."""


@dataclass(frozen=True)
class SeedTest:
    """Two models of one training seed on the same examples."""

    seed: str
    difference: Estimate
    """With the paired bootstrap interval."""
    mcnemar: float | None
    """Exact p-value; None where outcomes are not right or wrong."""


@dataclass(frozen=True)
class Comparison:
    """A strategy's models against a rival's, all seeds together."""

    strategy: str
    rival: str
    role: str
    """What the rival is: "control" (random, as many pairs), "no_filter" or "strategy"."""
    num_seeds: tuple[int, int]
    difference: Estimate
    """Of the means, with the 95 % interval of the hierarchical bootstrap."""
    corrected: Estimate
    """The same at the level of Holm's step."""
    p_value: float
    """Of the hierarchical bootstrap."""
    p_holm: float
    """Adjusted for the strategies of the table that have such a rival."""
    p_welch: float | None
    """Welch's test over the seeds' scores; None with a single seed."""
    by_seed: list[SeedTest]

    @property
    def verdict(self) -> str:
        """Return "better", "worse" or "none", the last where no difference can be shown."""
        if self.p_holm > 0.05:
            return "none"
        return "better" if self.difference.value > 0 else "worse"


@dataclass(frozen=True)
class Table:
    """One recipe, task and metric."""

    recipe: str
    task: str
    metric: str
    num_examples: int
    """Test pictures."""
    chance: float | None
    scores: list[Score]
    """Best first."""
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Answer:
    """One strategy put against another one directly."""

    first: str
    second: str
    kept: dict[str, Estimate]
    """Group, "precision" and "recall" -> difference, first minus second, with the paired bootstrap interval."""
    comparisons: list[tuple[Table, Comparison]]


@dataclass
class Bench:
    """Everything; what was not measured is empty."""

    title: str
    command: str
    recovery: dict[str, Any]
    """asked, obtained, fingerprint."""
    draws: int
    controls: dict[str, str] = field(default_factory=dict)
    """Strategy -> its random control."""
    truth: Truth | None = None
    tables: list[Table] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    """The findings in words."""
    notes: list[str] = field(default_factory=list)
    """What limits them."""
    config: str = ""
    """The resolved config."""


def as_json(value: Any) -> Any:
    """Return data as JSON can hold it: a number that is none becomes null, a comparison carries its verdict."""
    if isinstance(value, Comparison):
        return {**_fields(value), "verdict": value.verdict}
    if isinstance(value, Answer):
        found = [{"task": t.task, "metric": t.metric, "recipe": t.recipe, **as_json(c)} for t, c in value.comparisons]
        return {**_fields(value), "comparisons": found}
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _fields(value: Any) -> dict[str, Any]:
    """Return a dataclass as a mapping."""
    return {item.name: as_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
