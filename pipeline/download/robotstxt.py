"""Read robots.txt: which paths of a host its owner leaves to crawlers.

Source: RFC 9309, Robots Exclusion Protocol. The standard library's parser takes the first rule that matches instead of
the longest, and knows neither `*` nor `$` within a path, so it allows what owners forbid.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

__all__ = ["ALL", "NONE", "RobotsRules", "parse_robots"]

MAX_BYTES = 512_000
"""How much of a file is read; the RFC asks for 500 KiB at least. What is cut off does not count."""

_TOKEN = re.compile(r"^[a-zA-Z_\-]+")


@dataclass(frozen=True)
class RobotsRules:
    """The rules of one host for one agent."""

    rules: tuple[tuple[str, bool], ...] = ()
    """(path pattern, whether it allows), patterns and paths percent-encoded alike."""

    def allows(self, url: str) -> bool:
        """Tell whether a URL of this host may be fetched: the longest matching pattern decides, allow wins a tie."""
        parts = urlsplit(url)
        path = _encoded(parts.path or "/") + (f"?{_encoded(parts.query)}" if parts.query else "")
        if path == "/robots.txt":
            return True
        fitting = ((len(pattern), allow) for pattern, allow in self.rules if _matches(pattern, path))
        return max(fitting, default=(0, True))[1]


ALL = RobotsRules()
NONE = RobotsRules((("/", False),))


def parse_robots(body: bytes, agent: str) -> RobotsRules:
    """Return what a robots.txt says to an agent: the rules of all groups that name it, else those of `*`.

    Args:
        body: the file; it is read as UTF-8, what cannot be read is passed over.
        agent: the product token, "winnow"; compared without regard to case.
    """
    named: list[tuple[str, bool]] = []
    common: list[tuple[str, bool]] = []
    is_named = False
    group: set[str] = set()
    in_rules = True
    for key, value in _lines(body):
        if key == "user-agent":
            if in_rules:  # the first user-agent line after rules opens a group
                group, in_rules = set(), False
            token = _TOKEN.match(value)
            group.add("*" if value.startswith("*") else token[0].lower() if token else "")
            is_named |= agent.lower() in group
        elif key in ("allow", "disallow"):
            in_rules = True
            if value:  # an empty path matches nothing
                rule = (_encoded(value), key == "allow")
                if agent.lower() in group:
                    named.append(rule)
                if "*" in group:
                    common.append(rule)
    return RobotsRules(tuple(named if is_named else common))


def _lines(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield (key, value) of every line that has both; comments end at the line's end."""
    for line in body[:MAX_BYTES].decode("utf-8-sig", "replace").splitlines():
        key, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield key.strip().lower(), value.strip()


def _encoded(path: str) -> str:
    """Bring a path or pattern to one spelling: beyond ASCII as %XX, needless %XX as the characters they are."""
    plain = re.sub(r"%([0-9a-fA-F]{2})", _unreserved, path)
    return quote(plain, safe="%/:=&?~+!$,;'@()*[]")


def _unreserved(match: re.Match[str]) -> str:
    """Decode an escape of a letter, digit or one of - . _ ~, which means the same (RFC 3986, 2.3)."""
    character = chr(int(match[1], 16))
    return character if re.match(r"[A-Za-z0-9\-._~]", character) else match[0].upper()


def _matches(pattern: str, path: str) -> bool:
    """Tell whether a pattern fits the start of a path: `*` stands for anything, `$` at its end for the path's end.

    Each piece between stars is looked for as early as possible, which finds a match wherever there is one, in linear
    time: a regular expression with many stars would take a hostile file's time.
    """
    first, *rest = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    place = len(first)
    last = rest.pop() if rest else None
    for piece in rest:
        place = path.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    if not pattern.endswith("$"):
        return last is None or path.find(last, place) >= 0
    if last is None:
        return place == len(path)
    return path.endswith(last) and len(path) - len(last) >= place
