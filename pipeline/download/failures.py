"""Sort the reasons of failed rows into the classes that a retry can name, whoever downloaded them."""

import re

from winnow.errors import UserError, unknown

__all__ = ["CLASSES", "check_classes", "failure_classes"]

CLASSES = {
    "dns": r"dns:|name or service not known|name resolution|nodename nor servname|getaddrinfo|no address associated",
    "timeout": r"timeout|timed out",
    "connection": r"connection (refused|broken|reset)|remote end closed|incompleteread|unreachable|no route to host",
    "tls": r"tls:|ssl|certificate",
    "robots": r"^(http 4\d\d )?disallowed by|use of image disallowed",
    "private": r"^private address",
    "too_large": r"^too large",
    "hash": r"hash mismatch",
    "decode": r"^(not a picture|cannot (de|en)code|refused:|image (too small|decoding error)|aspect ratio|face)",
}
"""Class -> pattern of the messages, ours and img2dataset's; `429`, `4xx`, `5xx` and other statuses are classes too."""

_STATUS = re.compile(r"\bhttp(?: error)? (\d{3})\b", re.IGNORECASE)
_NUMBER = re.compile(r"[1-5](\d\d|xx)")


def failure_classes(message: str) -> frozenset[str]:
    """Return the classes of a failed row's `error_message`: "http 503" is in `503` and `5xx`.

    A robots.txt that could not be had is in the class of what went wrong with it.
    """
    text = message.strip().removeprefix("robots.txt unreachable: ")
    if match := _STATUS.search(text):
        return frozenset((match[1], f"{match[1][0]}xx"))
    return frozenset(name for name, pattern in CLASSES.items() if re.search(pattern, text, re.IGNORECASE))


def check_classes(given: str) -> frozenset[str]:
    """Return the classes of a list such as "timeout,dns,5xx,429".

    Raises:
        UserError: there is none, or one is unknown.
    """
    names = [name.strip().lower() for name in given.split(",") if name.strip()]
    if not names:
        raise UserError(f"--status needs classes of failures, such as timeout,dns,5xx,429; known: {', '.join(CLASSES)}")
    for name in names:
        if name not in CLASSES and not _NUMBER.fullmatch(name):
            raise unknown("class of failures", name, [*CLASSES, "4xx", "5xx", "429"])
    return frozenset(names)
