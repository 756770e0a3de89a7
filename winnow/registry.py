"""A folder is the registry: a name in a config is a file name; the file's single `__all__` symbol is the entry."""

import importlib
import pkgutil
from typing import Any

from winnow.errors import UserError, unknown

__all__ = ["names", "resolve"]


def names(package: str) -> list[str]:
    """Return the sorted entry names of a registry package such as "filters.strategies", importing none of them."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def resolve(package: str, name: str) -> Any:
    """Return the entry called `name`: a file of `package`, or "module.path:Symbol" for one kept outside the tree.

    Raises:
        UserError: there is no such file, module or symbol.
    """
    if ":" in name:
        module_name, _, symbol = name.partition(":")
        try:
            return getattr(importlib.import_module(module_name), symbol)
        except (ModuleNotFoundError, AttributeError) as error:
            raise UserError(f"cannot load {name!r}: {error}") from error
    if name not in (accepted := names(package)):
        raise unknown(package.rpartition(".")[2].removesuffix("s"), name, accepted)
    module = importlib.import_module(f"{package}.{name}")
    assert len(module.__all__) == 1, f"{module.__name__} must export exactly one name, not {module.__all__}"
    return getattr(module, module.__all__[0])
