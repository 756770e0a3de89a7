"""A config field that names a file: written as its path, hashed by its content, so that another content is a change."""

import hashlib
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer, SerializationInfo

from winnow.component import DIGEST
from winnow.errors import UserError
from winnow.patience import reach

__all__ = ["InputFile", "read_input"]


def read_input(path: str) -> bytes:
    """Return the content of a local file or fsspec URL.

    Raises:
        UserError: there is no such file.
    """
    fs, name = reach(path)
    try:
        with fs.open(name, "rb") as handle:
            return handle.read()  # type: ignore[no-any-return]
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"no file {path!r}: name one that exists, relative to where the command runs") from None


def _exists(path: str) -> str:
    """Refuse a path without a file behind it."""
    fs, name = reach(path)
    if not fs.isfile(name):
        raise UserError(f"no file {path!r}: name one that exists, relative to where the command runs")
    return path


def _dump(path: str, info: SerializationInfo) -> str:
    """Write the path, or in a digest the hash of the content: a file that only moved is no change."""
    return hashlib.sha256(read_input(path)).hexdigest() if info.context == DIGEST else path


InputFile = Annotated[str, AfterValidator(_exists), PlainSerializer(_dump)]
"""Type of a field that holds the path of a file which exists when the config is read."""
