"""The config of a run: shared keys, one section per stage, in the order of the loop."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from pipeline.engine.executor import Executor
from pipeline.stage import Stage
from winnow.component import build, validate
from winnow.config import load_config
from winnow.errors import UserError, joined, unknown
from winnow.patience import Storage
from winnow.registry import resolve
from winnow.storage import Store

__all__ = ["STAGES", "RunConfig", "control_of", "expand", "pool_of"]

STAGES = (
    "ingest",
    "download",
    "filternet",
    "score",
    "attach",
    "relate",
    "select",
    "reshard",
    "train",
    "eval",
    "bench",
    "report",
)
"""The order of the loop. Files of `pipeline/stages/` beyond these are stages only for configs that name them."""

SHARED = ("pool", "run_dir", "seed", "source", "storage", "config_path")
"""Top-level keys that are handed to every stage which declares a field of that name."""

CONTROL = "random-"
SEEDS = [0, 1, 2]


class RunConfig:
    """A config file with overrides applied, and the components it describes."""

    def __init__(
        self, path: str | Path, overrides: Iterable[str] = (), defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Read and check the whole config: mistakes in its sections are an error here, a line each,
        before anything runs.

        Args:
            path: the YAML file.
            overrides: "dotted.key=value" pairs.
            defaults: sections to add where the file has none of that name.

        Raises:
            UserError: names the key, what is accepted and the nearest name.
        """
        raw = expand({**(defaults or {}), **load_config(path, overrides)})
        accepted = [*(key for key in SHARED if key != "config_path"), "title", "executor", *STAGES]
        for key in raw:
            if key not in accepted and key != "config_path":
                raise unknown("section", key, accepted)
        for key in ("pool", "run_dir"):
            if not isinstance(raw.get(key), str):
                raise UserError(f"key `{key}` is required: a folder or fsspec URL")
        raw.setdefault("config_path", str(path))
        self.values: dict[str, Any] = raw
        validate(Storage, raw.setdefault("storage", {}) or {}, "storage").apply()
        executor = dict(raw.get("executor") or {})
        self.executor: Executor = build("pipeline.engine.executors", executor, executor.get("use", "ray"), "executor")
        self.stages: dict[str, Stage] = {}
        problems = []
        for name in (name for name in STAGES if name in raw):
            try:
                self.stages[name] = self._stage(name)
            except UserError as error:
                problems.append(str(error))
        if problems:
            raise joined(problems)
        self._check_scopes()

    @property
    def run_store(self) -> Store:
        """The run folder."""
        return Store(self.values["run_dir"])

    def save(self) -> None:
        """Write the resolved config into the run folder."""
        text = yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True)
        self.run_store.write("config.yaml", text.encode())

    def _check_scopes(self) -> None:
        """See to it that no product belongs to two stages: each would retire what the other made."""
        for (first, one), (second, other) in combinations(self.stages.items(), 2):
            for prefix in {*one.scope()} & {*other.scope()} if one.home == other.home else ():
                raise UserError(
                    f"`{first}` and `{second}` both make {prefix!r}: two scorers have the same key, which names the "
                    "folder of their columns; give one of them another key and the scorer's file as `use`"
                )

    def _stage(self, name: str) -> Stage:
        section = self.values[name]
        if section is not None and not isinstance(section, dict):
            raise UserError(f"section `{name}` must be a mapping, not {section!r}")
        kind = resolve("pipeline.stages", name)
        shared = {key: self.values[key] for key in SHARED if key in self.values and key in kind.model_fields}
        stage: Stage = build("pipeline.stages", {**shared, **(section or {})}, name)
        return stage


def pool_of(where: str) -> Store:
    """Return the pool that a config names, or the one in a folder.

    Args:
        where: a YAML file, or a folder or fsspec URL.
    """
    if where.endswith((".yaml", ".yml")):
        return Store(str(load_config(where).get("pool", "")))
    return Store(where)


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
