"""What the section `bench` adds to the other sections of a config: a random control for every strategy, and seeds."""

from collections.abc import Mapping
from typing import Any

__all__ = ["control_of", "expand"]

CONTROL = "random-"
SEEDS = [0, 1, 2]


def control_of(strategy: str) -> str:
    """Return the name of the random subset that keeps as many samples as a strategy."""
    return CONTROL + strategy


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with the section `bench` applied to the others; a config without one stays as it is.

    Every strategy but `no_filter` and those that draw at random gets a control, which is resharded, trained and
    evaluated wherever the strategy is, unless `bench.controls` is false. Training seeds are 0, 1 and 2 unless given.
    """
    out = dict(values)
    if "bench" not in out:
        return out
    bench, select, train = (dict(out.get(name) or {}) for name in ("bench", "select", "train"))
    if train:
        out["train"] = train = {"seeds": SEEDS, **train}
    strategies = dict(select.get("strategies") or {})
    if bench.get("controls", True) and strategies:
        controlled = [name for name, spec in strategies.items() if _is_filter(name, spec)]
        controls = {control_of(name): {"use": "random_subset", "same_size_as": name} for name in controlled}
        out["select"] = {**select, "strategies": {**strategies, **controls}}
        if (out.get("reshard") or {}).get("strategies"):
            out["reshard"] = {**out["reshard"], "strategies": _with(out["reshard"]["strategies"], controlled)}
        if train.get("recipes"):
            train["recipes"] = {
                name: {**recipe, "subsets": _with(recipe["subsets"], controlled)}
                if isinstance(recipe.get("subsets"), list)
                else recipe
                for name, recipe in train["recipes"].items()
            }
    return out


def _is_filter(name: str, spec: Mapping[str, Any] | None) -> bool:
    """Tell whether a strategy leaves pairs out for a reason."""
    return (spec or {}).get("use", name) not in ("no_filter", "random_subset")


def _with(names: list[str], controlled: list[str]) -> list[str]:
    """Return the names with the controls of those that have one."""
    return list(dict.fromkeys([*names, *(control_of(name) for name in names if name in controlled)]))
