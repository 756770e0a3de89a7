"""Read what `torch.save` wrote, and notice a flipped bit: torch itself does not look at the checksums it writes."""

import zipfile
from pathlib import Path
from typing import Any

from winnow.errors import UserError

__all__ = ["DamagedError", "check_archive", "load_tensors"]


class DamagedError(UserError):
    """A file of weights whose bytes are not those that were written."""


def check_archive(path: Path) -> None:
    """Compare every record of a torch file with its CRC-32; files of other formats carry none and pass.

    Reads the whole file once, about a second per gigabyte.

    Raises:
        DamagedError: a record differs, with its name.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
        try:
            with zipfile.ZipFile(file) as archive:
                record = archive.testzip()
        except Exception as error:  # of damaged archives anything may come: BadZipFile, ValueError, KeyError
            raise DamagedError(f"{str(path)!r} is damaged: {error}; copy it anew") from error
    if record is not None:
        raise DamagedError(f"{str(path)!r} is damaged: the checksum of its record {record!r} is wrong; copy it anew")


def load_tensors(path: Path) -> Any:
    """Return the tensors, numbers and texts of a torch file on the CPU; no code in it is run.

    Raises:
        DamagedError: it is cut short, a bit is flipped, or it is no such file.
    """
    import torch

    check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above: also IndexError, UnicodeDecodeError
        raise DamagedError(f"{str(path)!r} cannot be read as tensors: {error}") from error
