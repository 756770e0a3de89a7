"""Strategies made of strategies: how a config nests them, names them and has them share columns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, PlainSerializer, SerializationInfo, ValidationInfo

from filters.choosing.ranking import Kept
from filters.strategy import Columns, Judge, Pool, Strategy, Verdict
from winnow.component import build
from winnow.errors import UserError, unknown

__all__ = ["Part", "both", "build_strategies", "describe", "in_sequence", "in_turn", "needs_of"]

PACKAGE = "filters.strategies"


@dataclass(frozen=True)
class _Configured:
    """What a name inside a strategy may refer to."""

    specs: Mapping[str, Any]
    where: str
    path: tuple[str, ...] = ()
    """The configured strategies under construction, outermost first: a repeat is a circle."""

    def build(self, name: str) -> Strategy:
        """Build the strategy configured under `name`, and everything it refers to.

        Raises:
            UserError: there is none, or it refers to itself.
        """
        if name not in self.specs:
            raise unknown("configured strategy", name, self.specs)
        if name in self.path:
            raise UserError(f"strategies refer to each other in a circle: {' -> '.join((*self.path, name))}")
        spec = self.specs[name]
        if not isinstance(spec, Mapping):
            raise UserError(f"key `{self.where}.{name}` must be a mapping of fields, {{}} for none, not {spec!r}")
        inner = _Configured(self.specs, self.where, (*self.path, name))
        strategy: Strategy = build(PACKAGE, spec, name, self.where, inner)
        return strategy


def build_strategies(specs: Mapping[str, Any], where: str = "select.strategies") -> dict[str, Strategy]:
    """Build every strategy of a config; one that names another holds its own copy of it, so that each stands alone.

    Args:
        specs: name -> fields, as in the config.
        where: the dotted path of that section, for error messages.

    Raises:
        UserError: unknown strategy, field or reference, a bad value, or references in a circle.
    """
    configured = _Configured(specs, where)
    return {name: configured.build(name) for name in specs}


def describe(strategy: Strategy, context: Any = None) -> dict[str, Any]:
    """Return the config entry that builds the strategy again: its fields and `use`; `context` is pydantic's."""
    package, _, file = type(strategy).__module__.rpartition(".")
    use = file if package == PACKAGE else f"{type(strategy).__module__}:{type(strategy).__qualname__}"
    return {"use": use, **strategy.model_dump(mode="json", context=context)}


def needs_of(parts: Iterable[Strategy]) -> tuple[str, ...]:
    """Return the columns that any of the parts reads, each once."""
    return tuple(dict.fromkeys(name for part in parts for name in part.needs()))


def both(first: Verdict, then: Verdict, count: NDArray[np.uint16]) -> Verdict:
    """Keep what two verdicts keep; a drop has the reason of the first that drops it.

    Args:
        first: asked first.
        then: asked second.
        count: (n,) how often to keep what both keep.
    """
    kept = first.keep & then.keep
    code = np.where(first.code > 0, first.code, np.where(then.code > 0, then.code + len(first.reasons) - 1, 0))
    return Verdict(
        np.where(kept, count, 0).astype(np.uint16), code.astype(np.uint16), (*first.reasons, *then.reasons[1:])
    )


def in_sequence(pool: Pool, *parts: Strategy) -> Judge:
    """Return the judge of filters one after the other: each is fitted on what those before it keep.

    A sample is kept as often as by the part that keeps it least often; a drop's reason is that of the first to drop it.
    """
    first = parts[0].fit(pool)
    if len(parts) == 1:
        return first
    then = in_sequence(Kept(pool, first, parts[0].needs()), *parts[1:])
    return in_turn(first, then, needs_of(parts[1:]))


def in_turn(first: Judge, then: Judge, needs: tuple[str, ...]) -> Judge:
    """Return the judge that keeps what two judges keep, asking the second about those rows alone that the first keeps.

    A sample is kept as often as by the judge that keeps it least often; a drop has the reason of the first to drop it.

    Args:
        first: asked first.
        then: asked second.
        needs: the columns that the second reads.
    """

    def judge(columns: Columns) -> Verdict:
        before = first(columns)
        (kept,) = np.nonzero(before.count)
        after = then(columns.take(kept, needs))
        count, code = before.count.copy(), before.code.copy()
        count[kept] = np.minimum(count[kept], after.count)
        code[kept] = np.where(after.code > 0, after.code + np.uint16(len(before.reasons) - 1), 0)
        return Verdict(count, code, (*before.reasons, *after.reasons[1:]))

    return judge


def _part(value: Any, info: ValidationInfo) -> Any:
    """Build a nested strategy from the name of a configured one or from its own fields."""
    configured = info.context if isinstance(info.context, _Configured) else _Configured({}, "")
    if isinstance(value, str):
        return configured.build(value)
    if isinstance(value, Mapping):
        if "use" not in value:
            raise UserError(f"a nested strategy needs `use: <strategy>` among its fields, given: {dict(value)!r}")
        return build(PACKAGE, value, "", context=configured)
    return value


def _dump(strategy: Strategy, info: SerializationInfo) -> dict[str, Any]:
    """Write a nested strategy as its config entry."""
    return describe(strategy, info.context)


Part = Annotated[Strategy, BeforeValidator(_part), PlainSerializer(_dump)]
"""Type of a field that holds a strategy: in YAML `{use: basic, ...}`, or the name of another configured strategy."""
