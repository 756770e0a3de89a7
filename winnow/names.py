r"""Names of tar members: the sample that a member belongs to and what it holds, as webdataset reads them.

The key is the path up to the first dot of its last part, the suffix what follows that dot, in lower case:
`v1.0/a b.JPG` is the `jpg` of `v1.0/a b`. Bytes that are no UTF-8 are written `\xe4`; a leading `./` is no part of the
key.

Source: webdataset's `base_plus_ext` and `tar_file_iterator` (0.2.111). Unlike it we leave out, with a reason, names
that lead out of the folder (`/a.jpg`, `../a.jpg`) and those with control characters.
"""

import re
from collections.abc import Sequence

__all__ = ["split_names"]

_PLAIN = re.compile(r"^(?!__[^/\n]*__/)(?:\./)?([A-Za-z0-9_\-]+(?:/[A-Za-z0-9_\-]+)*)\.([A-Za-z0-9_.]+)$", re.MULTILINE)
"""The names that nearly all members have: found many at a time."""
_ANY = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
_META = re.compile(r"__[^/]*__(?:$|/)")
_CONTROL = re.compile(r"[\0-\x1f\x7f]")


def split_names(names: Sequence[bytes]) -> tuple[list[int], list[str], list[str], list[tuple[str, str]]]:
    """Split the names of n regular members.

    Args:
        names: as the archive has them.

    Returns:
        which of them belong to samples, (m,) in order; their keys and suffixes, (m,) each; the name of each other one
        with the reason.
    """
    text = b"\n".join(names)
    if b"\0" in text:
        names = [name.partition(b"\0")[0] for name in names]
        text = b"\n".join(names)
    found: list[tuple[str, str]] = _PLAIN.findall(text.decode("utf-8", "replace"))
    places, left_out = list(range(len(names))), list[tuple[str, str]]()
    if len(found) != len(names) or text.count(b"\n") >= max(1, len(names)):
        found, places = [], []
        for place, raw in enumerate(names):
            name = raw.decode("utf-8", "backslashreplace")
            parts = _split(name)
            if isinstance(parts, str):
                left_out.append((name, parts))
            else:
                places.append(place)
                found.append(parts)
    lower = {suffix: suffix.lower() for suffix in {suffix for _, suffix in found}}
    return places, [key for key, _ in found], [lower[suffix] for _, suffix in found], left_out


def _split(name: str) -> tuple[str, str] | str:
    """Return key and suffix of one name, or why it has none."""
    if _CONTROL.search(name):
        return "control characters in the name"
    if name.startswith("/") or ".." in name.split("/"):
        return "the name leads out of the folder"
    if _META.match(name):
        return "metadata of the archive"
    match = _ANY.fullmatch(name.removeprefix("./"))
    return (match[1], match[2]) if match else "no key before a dot in the name"
