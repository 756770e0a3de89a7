"""A component is its own typed config: fields from YAML, checked strictly, and methods that do the work."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from winnow.errors import UserError, unknown
from winnow.registry import resolve

__all__ = ["DIGEST", "Component", "build", "digest", "validate"]

DIGEST = "digest"
"""The serialisation context of `digest`, for fields whose hash is more than their value (winnow/inputs.py)."""

Model = TypeVar("Model", bound=BaseModel)


class Component(BaseModel):
    """Base of everything a config can name: immutable fields; models, files and sockets are opened on first use."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, protected_namespaces=())

    @classmethod
    def tiny(cls) -> Self:
        """Return the smallest valid instance, for the contract tests."""
        return cls()


def build(package: str, spec: Mapping[str, Any], name: str, where: str = "", context: Any = None) -> Any:
    """Build the component that a config entry describes.

    Args:
        package: the registry folder, "filters.scorers".
        spec: the entry's fields; the field `use` names the file and defaults to `name`.
        name: the entry's key in the config.
        where: the dotted path of the section that holds it, for error messages.
        context: what the validators of its fields may look at, pydantic's `ValidationInfo.context`.

    Raises:
        UserError: unknown file, unknown field or bad value.
    """
    fields = dict(spec)
    kind = resolve(package, fields.pop("use", name))
    return validate(kind, fields, f"{where}.{name}" if where else name, context)


def validate(kind: type[Model], fields: Mapping[str, Any], where: str, context: Any = None) -> Model:
    """Validate `fields` against a model, turning one problem into one clear sentence.

    Raises:
        UserError: names the key, what was given, what is accepted and the nearest name.
    """
    try:
        return kind.model_validate(dict(fields), context=context)
    except ValidationError as error:
        raise _explain(kind, error, where) from None


def _explain(kind: type[BaseModel], error: ValidationError, where: str) -> UserError:
    """Return what is wrong with one bad key of a validation error."""
    # a misspelt key is also a missing one: name the misspelling
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    path = [str(part) for part in first["loc"]]
    key = ".".join([where, *path]) if where else ".".join(path)
    if first["type"] == "value_error" and isinstance(inner := first["ctx"]["error"], UserError) and inner.key:
        return _inside(key, inner)
    found = UserError(_sentence(kind, first, key, path))
    found.key = key
    return found


def _inside(outer: str, inner: UserError) -> UserError:
    """Return the error of an entry within an entry, with its key in full and said once.

    What a section reports is named from the top already; what an entry does, from the entry or from the key it lies at.
    """
    if "." not in outer:
        return inner
    path, rest = outer.split("."), inner.key.split(".")
    overlap = next((n for n in range(min(len(path), len(rest)), 0, -1) if path[-n:] == rest[:n]), 0)
    key = ".".join([*path, *rest[overlap:]])
    found = UserError(str(inner).replace(f"`{inner.key}`", f"`{key}`", 1))
    found.key = key
    return found


def _sentence(kind: type[BaseModel], first: Any, key: str, path: list[str]) -> str:
    """Say what is wrong with a key."""
    if first["type"] == "extra_forbidden":
        owner: Any = kind
        for part in path[:-1]:
            field = owner.model_fields.get(part) if hasattr(owner, "model_fields") else None
            owner = field.annotation if field is not None else None
        accepted = list(owner.model_fields) if hasattr(owner, "model_fields") else []
        return str(unknown(f"key `{key}`", path[-1], accepted))
    if first["type"] == "missing":
        return f"key `{key}` is required: {first['msg'].lower()}"
    if first["type"] == "value_error":  # raised by a validator of ours: the sentence already says it all
        text = str(first["ctx"]["error"])
        return f"key `{key}`: {text}" if key else text
    return f"key `{key}`: {first['msg']} (given: {first['input']!r})"


def digest(*parts: Any) -> str:
    """Return a stable hash (32 hex characters) of JSON-like values and components, whatever the order of dict keys."""

    def plain(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return {"": type(value).__name__, **value.model_dump(mode="json", context=DIGEST)}
        return str(value)

    text = json.dumps(parts, sort_keys=True, default=plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
