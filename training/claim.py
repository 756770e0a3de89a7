"""Whose folder it is: a run goes on in the folder of the same recipe and data, wherever both lie now."""

import hashlib
import os
from pathlib import Path
from typing import Any

import yaml

from training.recipe import Recipe
from winnow.errors import UserError

__all__ = ["claim", "differences"]

# the weights do not depend on them
_FREE = {
    "out_dir", "num_workers", "cache", "max_bad_share", "checkpoint_every", "keep_checkpoints",
    "continue_with_changes",
}  # fmt: skip
_CONTENT = "content"


def claim(out_dir: Path, recipe: Recipe, data: str) -> None:
    """Write config.yaml, or check that the one there is of the same run.

    Args:
        out_dir: the run's folder; made if need be.
        recipe: what is to be trained.
        data: digest of the shards' content.

    Raises:
        UserError: the folder holds a run of another recipe or of other data.
    """
    changed = differences(out_dir, recipe, data)
    if changed is not None:
        if unasked := [name for name in changed if name not in recipe.continue_with_changes]:
            raise UserError(
                f"{out_dir} holds a run of another recipe (different: {', '.join(unasked)}); choose another out_dir, "
                f"remove that folder, or go on from its newest checkpoint with `continue_with_changes: {unasked}` "
                "where that field takes it"
            )
        if not changed:
            return
    out_dir.mkdir(parents=True, exist_ok=True)
    partial = out_dir / "config.tmp"
    partial.write_text(yaml.safe_dump(_portable(recipe) | {_CONTENT: _content(recipe, data)}, sort_keys=False))
    os.replace(partial, out_dir / "config.yaml")


def differences(out_dir: Path, recipe: Recipe, data: str) -> list[str] | None:
    """Return the fields in which a folder's run differs from a recipe, None where the folder holds none.

    Shards and files that the system's fields name are compared by content, so that a run may be moved.
    """
    path = out_dir / "config.yaml"
    if not path.is_file():
        return None
    found, config = yaml.safe_load(path.read_text()), _portable(recipe)
    there, here = found.get(_CONTENT, {}), _content(recipe, data)
    if there:  # folders of before know paths alone
        found, config = _by_content(found, there), _by_content(config, here)
    return sorted(
        key
        for key, value in config.items()
        if key not in _FREE and found.get(key, Recipe.model_fields[key].default) != value
    )


def _portable(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's fields but its own place, so that a run can be moved and compared."""
    config = recipe.model_dump(mode="json")
    del config["out_dir"]
    return config


def _content(recipe: Recipe, data: str) -> dict[str, str]:
    """Return digests of the data and of each file that a field of the system names."""
    digests = {"data": data}
    for key, value in sorted(recipe.system.items()):
        if isinstance(value, str) and Path(value).is_file():
            with Path(value).open("rb") as file:
                digests[f"system.{key}"] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _by_content(config: dict[str, Any], digests: dict[str, str]) -> dict[str, Any]:
    """Return a config with digests in the place of paths."""
    system = {key: digests.get(f"system.{key}", value) for key, value in config["system"].items()}
    return config | {"data": digests["data"], "system": system}
