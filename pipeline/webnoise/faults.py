"""Which URLs of a synthetic web misbehave, and how: decided by the path alone, so every run meets the same web."""

import hashlib
from typing import Final

__all__ = ["FAULTS", "fault_of"]

FAULTS: Final = {
    "missing": 0.030,
    "flaky": 0.015,
    "slow": 0.010,
    "stalled": 0.002,
    "truncated": 0.008,
    "html": 0.010,
    "mislabelled": 0.010,
    "redirect": 0.020,
    "redirect_loop": 0.002,
    "huge_claimed": 0.003,
    "huge_streamed": 0.002,
    "noai": 0.010,
}
"""Kind -> share of URLs. `flaky` answers 500 to the first request and well to the next; `slow` and `mislabelled` (a
good picture called text/plain) and `redirect` succeed; `stalled` sends half a body and then nothing; `noai` forbids its
use in a header."""


def fault_of(path: str) -> str:
    """Return the kind of misbehaviour of a path, "" for the many that are well."""
    place = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") / 2**64
    for kind, share in FAULTS.items():
        if place < share:
            return kind
        place -= share
    return ""
