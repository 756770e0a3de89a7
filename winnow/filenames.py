"""Names that people give, as file names, and back: `vtab/caltech101` is the file `vtab%2Fcaltech101`."""

import re

from winnow.errors import UserError

__all__ = ["file_name", "name_of"]

LONGEST = 110
"""Bytes of a file name made from a name: a row of the journal may hold two, and file systems end at 255."""


def file_name(name: str) -> str:
    """Return a name as one part of a path, different names as different parts.

    Letters, digits, `_`, `-` and `.` stand for themselves; of anything else, and of a dot at the start, each byte of
    its UTF-8 becomes % and two digits. No name at all is a lone %.

    Raises:
        UserError: it is too long for a file system.
    """
    found = "".join(c if c.isalnum() or c in "_-" or (c == "." and at) else _escape(c) for at, c in enumerate(name))
    if len(found.encode()) > LONGEST:
        raise UserError(
            f"the name {name[:40]!r}... is too long: as a file name it has over {LONGEST} bytes; shorten it"
        )
    return found or "%"


def name_of(part: str) -> str:
    """Return the name that `file_name` made a part of a path from."""
    data = re.sub(
        rb"%([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), part.encode("utf-8", "surrogatepass")
    )
    return "" if part == "%" else data.decode("utf-8", "surrogatepass")


def _escape(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))
