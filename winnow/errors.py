"""Errors for people: what was given, what is accepted, what to change."""

import importlib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from types import ModuleType

__all__ = ["StorageError", "UserError", "require", "unknown"]


class UserError(ValueError):
    """A mistake in a config, a command or an input that the user can put right; printed without a traceback."""

    key: str = ""
    """The key of the config that it names, dotted from the section or from the entry that was read."""


class StorageError(Exception):
    """A store that does not answer or refuses, in one sentence that names it; printed without a traceback.

    It is neither an `OSError` nor a `UserError`: whoever forgives those, for one sample or one file, must not take a
    store that is away for something that is missing.
    """

    def __init__(self, text: str, transient: bool = False) -> None:
        """Take the sentence, and whether it may be otherwise later, when the same command goes on."""
        super().__init__(text, transient)
        self.transient = transient

    def __str__(self) -> str:
        return str(self.args[0])


def joined(problems: Sequence[str]) -> UserError:
    """Return one error for all problems found, a line each; a single one stays as it is."""
    if len(problems) == 1:
        return UserError(problems[0])
    return UserError("".join([f"{len(problems)} problems", *(f"\n  - {problem}" for problem in problems)]))


def unknown(what: str, given: str, accepted: Iterable[str]) -> UserError:
    """Return the error for a name that does not exist, with the nearest one that does.

    Args:
        what: what kind of name it is, "strategy" or "key in `train`".
        given: the name as the user wrote it.
        accepted: every name that would have been accepted.
    """
    names = sorted(accepted)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {what}: {given!r}.{hint} Accepted: {', '.join(names) or 'none'}.")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it.

    Raises:
        UserError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A broken install of the module itself (its own import missing) must not be reported as a missing extra.
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise UserError(
            f"{module!r} is not installed; it comes with the extra {extra!r}: pip install 'winnow[{extra}]'"
        ) from error
