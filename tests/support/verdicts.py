"""Verdict tables for tests that need no strategy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from winnow.uid import from_hex
from winnow.verdicts import VerdictWriter, verdict_rows


def write_verdicts(
    path: Path, tables: Mapping[str, Sequence[str]], count: Sequence[int], reason: Sequence[str]
) -> None:
    """Write a verdict table of n samples.

    Args:
        path: where.
        tables: name of a pool's table -> uids of its samples; n in all.
        count: (n,) how often each is kept.
        reason: (n,) why it is dropped.
    """
    uids = [uid for mine in tables.values() for uid in mine]
    shard = pa.array([name for name, mine in tables.items() for _ in mine]).dictionary_encode()
    words = list(dict.fromkeys(["", *reason]))
    code = np.array([words.index(word) for word in reason])
    path.parent.mkdir(parents=True, exist_ok=True)
    with VerdictWriter(path) as writer:
        writer.write(verdict_rows(np.array(count, np.uint16), code, words, shard), from_hex(uids))
