"""Train one recipe from files to files, under plain python, torchrun or Ray Train alike."""

import os
from pathlib import Path

import torch
import yaml

from training.claim import claim
from training.data import Pairs
from training.distributed import process_group, rank
from training.loop import fit
from training.recipe import Recipe
from training.system import System, build_system, system_class
from winnow.component import validate
from winnow.errors import UserError

__all__ = ["load_system", "read_recipe", "train"]

_FREE = {
    "out_dir",
    "num_workers",
    "cache",
    "max_bad_share",
    "checkpoint_every",
    "keep_checkpoints",
}


def train(recipe: Recipe) -> Path:
    """Run a recipe, or finish what an interrupted call of it began, and return its folder.

    Raises:
        UserError: the data or the system cannot be used, or the folder holds a run of another recipe.
    """
    device = _device(recipe)
    out_dir = Path(recipe.out_dir)
    with process_group(device):
        pairs = Pairs(recipe.data, cache=recipe.cache)
        if rank() == 0:
            claim(out_dir, recipe, pairs.digest())
        torch.manual_seed(recipe.seed)
        system = build_system(recipe.system).to(device)
        ema = fit(system, pairs, recipe, seed=recipe.seed, out_dir=out_dir, device=device)
        if rank() == 0:
            if ema is not None:
                with ema.applied():
                    _publish(system, out_dir)
            else:
                _publish(system, out_dir)
    return out_dir


def load_system(run_dir: str | Path) -> System:
    """Return the system a finished run trained: final weights (their moving average where kept), eval mode, CPU.

    Raises:
        UserError: the folder holds no finished run.
    """
    folder = Path(run_dir)
    if not (folder / "config.yaml").is_file() or not (folder / "model.pt").is_file():
        raise UserError(f"no finished training run in {str(folder)!r}: config.yaml and model.pt are expected there")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    kind, fields = system_class(config["system"])
    return kind.load(folder, fields).eval()


def read_recipe(path: str | Path) -> Recipe:
    """Return the recipe in a YAML file.

    Raises:
        UserError: no such file, unknown key or bad value.
    """
    from winnow.config import load_config

    return validate(Recipe, load_config(path), "")


def _device(recipe: Recipe) -> torch.device:
    """Return this rank's device."""
    if recipe.device == "cpu" or (recipe.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("`device` is cuda, but torch finds no CUDA device; use auto or cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def _publish(system: System, out_dir: Path) -> None:
    """Save the final files and give them their names once they are whole."""
    staging = out_dir / "_final"
    staging.mkdir(exist_ok=True)
    system.save(staging)
    for file in sorted(staging.iterdir()):
        os.replace(file, out_dir / file.name)
    staging.rmdir()
