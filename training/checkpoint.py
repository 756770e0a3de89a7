"""Checkpoints that are whole or absent; the newest that can be read is where a rerun goes on."""

import logging
import os
from pathlib import Path
from typing import Any

import torch

from winnow.tensors import DamagedError, load_tensors

__all__ = ["load_latest", "save_checkpoint"]

_log = logging.getLogger(__name__)


def save_checkpoint(folder: Path, samples_seen: int, state: dict[str, Any], keep: int) -> None:
    """Write a checkpoint under a temporary name, flush, rename, then remove all but the `keep` newest."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{samples_seen:015d}.pt"
    partial = final.with_suffix(".tmp")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, final)
    for old in sorted(folder.glob("*.pt"))[:-keep]:
        old.unlink()


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint that is as it was written, on the CPU; None where there is none."""
    for path in sorted(folder.glob("*.pt"), reverse=True):
        try:
            return load_tensors(path)  # type: ignore[no-any-return]
        except DamagedError as error:
            # renamed only when whole, so a disk lost bytes: the one before it costs time, not the run
            _log.warning("%s. The checkpoint before it is tried", error)
    return None
