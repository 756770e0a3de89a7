"""Weights of a training along the way, for whoever wants to know what a network thought of a pair while it learnt."""

import os
import shutil
from contextlib import nullcontext
from pathlib import Path

from training.ema import Ema
from training.system import System

__all__ = ["save_snapshot"]


def save_snapshot(system: System, ema: Ema | None, folder: Path, number: int) -> None:
    """Write the weights as `System.save` does to <folder>/<number>.pt: whole, or not under that name.

    Args:
        system: what is trained; it is left as it was.
        ema: its moving average, saved in its place where one is kept.
        folder: where to; made if need be.
        number: counted from 1.
    """
    staging = folder / "_next"
    staging.mkdir(parents=True, exist_ok=True)
    with nullcontext() if ema is None else ema.applied():
        system.save(staging)
    os.replace(staging / "model.pt", folder / f"{number:05d}.pt")
    shutil.rmtree(staging)
