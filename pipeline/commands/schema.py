"""`winnow schema`: the JSON schema of a config, by which editors complete and check it."""

from collections.abc import Mapping
from typing import Any

from pipeline.config import SHARED, STAGES
from pipeline.engine.executor import Executor
from winnow.component import Component
from winnow.patience import Storage
from winnow.registry import names, resolve

__all__ = ["config_schema"]

ENTRIES = {
    ("score", "scorers"): "filters.scorers",
    ("relate", "scorers"): "filters.pool_scorers",
    ("select", "strategies"): "filters.strategies",
    ("eval", "tasks"): "eval.tasks",
}
"""Fields whose keys are names of their own, each with a component: (stage, field) -> its registry."""
NESTED = {"anyOf": [{"type": "string"}, {"type": "object", "required": ["use"]}]}
"""A field that holds a component of some role: the name of a configured one, or its own fields."""


def config_schema() -> dict[str, Any]:
    """Return the schema: shared keys, and a section for every stage with its fields, types and defaults."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {
        "pool": {"type": "string", "description": "Folder or fsspec URL of the pool."},
        "run_dir": {"type": "string", "description": "Folder or fsspec URL of the run."},
        "seed": {"type": "integer"},
        "title": {"type": "string"},
        "source": _one_of("pipeline.sources", definitions),
        "executor": _one_of("pipeline.engine.executors", definitions),
        "storage": _fields(Storage, definitions),
    }
    for stage in STAGES:
        section = _fields(resolve("pipeline.stages", stage), definitions, leave_out=SHARED)
        for (owner, field), package in ENTRIES.items():
            if owner == stage and field in section["properties"]:
                section["properties"][field] = _entries(package, definitions)
        properties[stage] = {"anyOf": [section, {"type": "null"}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of Winnow",
        "type": "object",
        "properties": properties,
        "required": ["pool", "run_dir"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _fields(
    kind: type[Component | Executor | Storage], definitions: dict[str, Any], leave_out: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the schema of a component; what it refers to goes into the definitions."""
    schema = kind.model_json_schema(ref_template="#/$defs/{model}")
    for name, definition in schema.pop("$defs", {}).items():
        is_role = definition.get("type") == "object" and not definition.get("properties")
        definitions[name] = NESTED if is_role else definition
    schema["properties"] = {
        name: field for name, field in schema.get("properties", {}).items() if name not in leave_out
    }
    schema["required"] = [name for name in schema.get("required", []) if name not in leave_out]
    return schema


def _with_use(package: str, name: str, definitions: dict[str, Any]) -> str:
    """Return the reference to a registry's entry, which may name itself with `use`."""
    key = f"{package}.{name}"
    if key not in definitions:
        definitions[key] = {}  # an entry that holds others of its kind refers to itself
        schema = _fields(resolve(package, name), definitions)
        schema["properties"]["use"] = {"const": name}
        definitions[key] = schema
    return f"#/$defs/{key}"


def _one_of(package: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a key that holds one entry of a registry."""
    return {"anyOf": [{"$ref": _with_use(package, name, definitions)} for name in names(package)]}


def _entries(package: str, definitions: dict[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a mapping: a key that is an entry's name means that entry, any other says `use`."""
    known = {name: _with_use(package, name, definitions) for name in names(package)}
    foreign = {"properties": {"use": {"pattern": ":"}}}  # module:Class, of which nothing is known
    named = f"{package}, by its use"
    definitions[named] = {
        "type": "object",
        "required": ["use"],
        "anyOf": [*({"$ref": reference} for reference in known.values()), foreign],
    }
    other = {"$ref": f"#/$defs/{named}"}
    return {
        "type": "object",
        "properties": {name: {"anyOf": [{"$ref": reference}, other]} for name, reference in known.items()},
        "additionalProperties": other,
    }
