"""The config of a run: shared keys, one section per stage, in the order of the loop."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from pipeline.bench import expand
from pipeline.executor import Executor
from pipeline.stage import Stage
from winnow.component import build
from winnow.config import load_config
from winnow.errors import UserError, unknown
from winnow.registry import resolve
from winnow.storage import Store

__all__ = ["STAGES", "RunConfig", "pool_of"]

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

SHARED = ("pool", "run_dir", "seed", "source", "config_path")
"""Top-level keys that are handed to every stage which declares a field of that name."""


class RunConfig:
    """A config file with overrides applied, and the components it describes."""

    def __init__(
        self, path: str | Path, overrides: Iterable[str] = (), defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Read and check the whole config: the first mistake in any section is an error here, before anything runs.

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
        executor = dict(raw.get("executor") or {})
        self.executor: Executor = build("pipeline.executors", executor, executor.get("use", "ray"), "executor")
        self.stages: dict[str, Stage] = {name: self._stage(name) for name in STAGES if name in raw}
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
