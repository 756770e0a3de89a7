"""Find the files of a picture set, and the pictures beside their captions and classes."""

from collections.abc import Sequence
from pathlib import Path

from winnow.errors import UserError

__all__ = ["PICTURES", "find_files"]

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def find_files(path: str, suffixes: Sequence[str]) -> list[Path]:
    """Return the sorted files at a path: a file, a folder searched to its depths, or a glob.

    Args:
        path: of the local file system.
        suffixes: of wanted files, in lower case, ".tar".

    Raises:
        UserError: there is none.
    """
    place = Path(path)
    if any(sign in path for sign in "*?["):
        anchor = Path(place.anchor or ".")
        found = list(anchor.glob(str(place.relative_to(anchor)) if place.anchor else path))
    elif place.is_dir():
        found = list(place.rglob("*"))
    else:
        found = [place]
    files = sorted(file for file in found if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        raise UserError(
            f"pictures.path: nothing to read at {path!r}; give a file, folder or glob of {', '.join(suffixes)}"
        )
    return files
