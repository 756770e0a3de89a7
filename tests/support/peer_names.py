"""What webdataset makes of the names of tar members, with its own functions: the reference for ours."""

import re
from collections.abc import Iterable

from webdataset.tariterators import base_plus_ext

__all__ = ["first_of_each", "key_and_suffix"]


def key_and_suffix(name: str) -> tuple[str, str] | None:
    """Return key and suffix of a member of a sample, None for what is none.

    Args:
        name: as tarfile gives it.
    """
    if re.match(r"__[^/]*__($|/)", name):  # `skip_meta` of webdataset's tar_file_iterator
        return None
    if name.startswith("/") or ".." in name.split("/") or re.search(r"[\0-\x1f\x7f]", name):
        return None  # here we are stricter
    key, suffix = base_plus_ext(
        name.removeprefix("./").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    )
    return None if key is None else (key, suffix.lower())


def first_of_each(members: Iterable[tuple]) -> list[tuple]:
    """Return members (key, suffix, ...) without those whose suffix their sample, a run of one key, has already."""
    out, last, seen = [], None, set()
    for member in members:
        seen = seen if member[0] == last else set()
        last = member[0]
        if member[1] not in seen:
            out.append(member)
        seen.add(member[1])
    return out
