"""What training read of its shards: samples kept, and left out by reason with an example."""

import json
import os
from pathlib import Path
from typing import Any

from training.data import Pairs
from training.stream import Skipped

__all__ = ["FILE_NAME", "account", "summary", "write_account"]

FILE_NAME = "samples.json"


def account(pairs: Pairs, skipped: Skipped) -> dict[str, Any]:
    """Return `read` = `kept` + the sum of `left_out`, which has count and example of each reason.

    A picture counts as kept until it was tried: a budget below the set's size leaves some untried.
    """
    left_out = dict(pairs.left_out)
    for index, reason in sorted(skipped.reasons.items()):
        kind = reason.partition(":")[0]
        count, example = left_out.get(kind, (0, f"{pairs.name(index)}: {reason}"))
        left_out[kind] = count + 1, example
    kept = len(pairs) - len(skipped.reasons)
    return {
        "read": kept + sum(count for count, _ in left_out.values()),
        "kept": kept,
        "left_out": {kind: {"count": count, "example": example} for kind, (count, example) in left_out.items()},
    }


def summary(found: dict[str, Any]) -> str:
    """Return the account as one line."""
    line = f"{found['read']:,} samples read, {found['kept']:,} kept"
    for kind, entry in found["left_out"].items():
        line += f"; {entry['count']:,} left out: {kind} (for example {entry['example']})"
    return line


def write_account(found: dict[str, Any], folder: Path) -> None:
    """Write it as samples.json, whole or not at all."""
    partial = folder / "samples.tmp"
    partial.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / FILE_NAME)
