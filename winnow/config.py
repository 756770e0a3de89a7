"""Read a YAML config, apply dotted overrides, write the resolved one."""

from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

import yaml

from winnow.errors import UserError

__all__ = ["load_config"]


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the mapping in a YAML file with overrides such as "train.lr=3e-4" applied.

    "${run_dir}" in a text stands for the value of the top-level key `run_dir`, overrides included.

    Args:
        path: the YAML file.
        overrides: "dotted.key=value" pairs; the value is read as YAML, a missing parent is created.

    Raises:
        UserError: the file is missing or no mapping, or an override is malformed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no config at {str(path)!r}; give the path of a YAML file, for example configs/demo.yaml")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold a mapping of sections, not {type(config).__name__}")
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise UserError(f"override {override!r} must look like train.lr=3e-4")
        _assign(config, key.split("."), _value(text), override)
    names = {key: str(value) for key, value in config.items() if isinstance(value, str | int | float)}
    return {key: _substitute(value, names) for key, value in config.items()}


def _assign(config: dict[str, Any], parts: list[str], value: Any, override: str) -> None:
    """Set `config[a][b][c] = value`, creating the sections on the way."""
    for part in parts[:-1]:
        config = config.setdefault(part, {})
        if not isinstance(config, dict):
            raise UserError(f"override {override!r}: {part!r} is a value, not a section")
    config[parts[-1]] = value


def _value(text: str) -> Any:
    """Read an override's value; YAML 1.1 takes "3e-4" for a string, people mean a number."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _substitute(value: Any, names: dict[str, str]) -> Any:
    """Replace "${key}" in every text of a nested value."""
    if isinstance(value, str):
        return Template(value).safe_substitute(names)
    if isinstance(value, dict):
        return {key: _substitute(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, names) for item in value]
    return value
