"""Answers of models whose differences are known."""

import numpy as np
from numpy.typing import NDArray

from eval.bench.outcomes import Outcomes

__all__ = ["CONTROLS", "RATES", "outcomes"]

CONTROLS = {name: f"random-{name}" for name in ("strong", "idle", "weak")}
RATES = {
    "no_filter": 0.45,
    "strong": 0.70,
    "random-strong": 0.45,
    "idle": 0.45,
    "random-idle": 0.45,
    "weak": 0.30,
    "random-weak": 0.45,
}


def outcomes(rates: dict[str, float], seeds: int = 3, examples: int = 400, seed: int = 0) -> Outcomes:
    """Draw right and wrong answers: some examples are hard for all, seeds differ by a point or two."""
    rng = np.random.default_rng(seed)
    hardness = rng.uniform(-0.25, 0.25, size=examples)
    by_subset: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, rate in rates.items():
        by_subset[name] = {}
        for number in range(seeds):
            chance = np.clip(rate + rng.normal(0, 0.01) - hardness, 0, 1)
            by_subset[name][str(number)] = (rng.random(examples) < chance).astype(np.float64)
    keys = [f"s{number:07d}" for number in range(examples)]
    return Outcomes("clip", "colors", "accuracy", 1 / 12, True, keys, by_subset)
