"""Characters that a page cannot hold, or that would change how it reads, made visible."""

import re

__all__ = ["visible"]

# C0 and C1 controls but tab and newline, marks that turn the direction of text, halves of surrogate pairs
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def visible(page: str) -> str:
    """Return a page with control characters as their pictures (U+2400 and on), and what has none as U+FFFD."""
    return _HIDDEN.sub(lambda match: chr(0x2400 + ord(match[0])) if ord(match[0]) < 0x20 else "\ufffd", page)
