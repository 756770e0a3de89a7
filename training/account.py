"""What training read of its shards: samples kept, and left out by reason with an example."""

import json
import os
from pathlib import Path

from training.data import Pairs
from training.stream import Skipped
from winnow.account import Account

__all__ = ["FILE_NAME", "read_account", "take_account", "write_account"]

FILE_NAME = "samples.json"


def take_account(pairs: Pairs, skipped: Skipped) -> Account:
    """Count the samples of the shards.

    A picture counts as kept until it was tried: a budget below the set's size leaves some untried.
    """
    account = Account("samples", read=len(pairs))
    for reason, (count, example) in pairs.left_out.items():
        account.read += count
        account.leave_out(reason, example, count)
    for index, reason in sorted(skipped.reasons.items()):
        account.leave_out(reason.partition(":")[0], f"{pairs.name(index)}: {reason}")
    return account


def write_account(account: Account, folder: Path) -> None:
    """Write it as samples.json, whole or not at all."""
    partial = folder / "samples.tmp"
    partial.write_text(json.dumps(account.data(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / FILE_NAME)


def read_account(folder: Path) -> Account:
    """Return what `write_account` wrote."""
    return Account.of(json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
