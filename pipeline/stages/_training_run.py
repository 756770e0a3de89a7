"""Run one training recipe inside a stage: a working folder that outlives a kill, then a product."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.stage import Product
from training.recipe import Hyperparameters, Recipe
from winnow.component import digest, validate
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.storage import Store, link_or_copy

__all__ = ["check_system", "local_path", "recipe_digest", "sweep_work", "train_product"]

_SPEED = {
    "num_workers",
    "cache",
    "max_bad_share",
    "checkpoint_every",
    "keep_checkpoints",
}  # fields that change no weight
_LEFT_BEHIND = ("timings.jsonl",)  # clocks differ between runs that are equal


def recipe_digest(recipe: Hyperparameters) -> str:
    """Return a hash of what decides the weights, with the content of files that the system's fields name."""
    fields = {name: getattr(recipe, name) for name in Hyperparameters.model_fields if name not in _SPEED}
    if not recipe.continue_with_changes:  # keys of before the field was there stay
        del fields["continue_with_changes"]
    texts = sorted(value for value in recipe.system.values() if isinstance(value, str))
    files = [Path(text).read_bytes() for text in texts if Path(text).is_file()]
    return digest(fields, [digest(content.hex()) for content in files])


def check_system(recipe: Hyperparameters, where: str) -> None:
    """Check the fields of a recipe's `system` section before hours of work depend on them.

    Raises:
        UserError: unknown field or bad value.
    """
    from training.system import system_class

    kind, fields = system_class(recipe.system)
    validate(kind.Config, fields, f"{where}.system")


def local_path(store: Store, name: str = "") -> str:
    """Return where a file of the store lies on this machine.

    Raises:
        UserError: the store is remote; training reads samples in random order.
    """
    if not store.is_local:
        raise UserError(f"training reads by local paths: {store.url!r} must be a folder on local or mounted disks")
    return store.path(name)


def train_product(
    store: Store,
    folder: str,
    key: str,
    recipe: Hyperparameters,
    data: list[str],
    seed: int,
    nproc: int,
    attempt: Path,
    threads: int = 0,
) -> Product:
    """Train, or finish what a killed attempt began, and copy the result into the attempt folder.

    Args:
        store: the run's folder.
        folder: final place of the files in it, "train/clip/tmars/0".
        key: the product's key; it names the working folder, so that a rerun finds its checkpoints.
        recipe: hyperparameters.
        data: local paths of the shards.
        seed: the run's seed.
        nproc: processes on this machine; above 1 torchrun starts them.
        attempt: empty folder for the result.
        threads: CPU threads where `nproc` is 1; 0 for every core.
    """
    work = Path(local_path(store, f"_work/{key}"))
    fields = {name: getattr(recipe, name) for name in Hyperparameters.model_fields}
    full = Recipe(**fields, data=data, out_dir=str(work), seed=seed)
    if recipe.continue_with_changes and not (work / "config.yaml").is_file():
        _adopt(work, full)
    if nproc == 1:
        _train_here(full, threads)
    else:
        _launch(full, work, nproc)
    files: dict[str, Path] = {}
    copied: dict[int, Path] = {}  # one file of two names, model.pt and open_clip's, stays one
    for path in sorted([*work.iterdir(), *work.glob("snapshots/*.pt")]):
        if path.is_file() and path.name not in _LEFT_BEHIND and path.suffix != ".tmp":
            name = path.relative_to(work)
            (attempt / name).parent.mkdir(exist_ok=True)
            if first := copied.get(path.stat().st_ino):
                link_or_copy(first, attempt / name)
            else:
                copied[path.stat().st_ino] = Path(shutil.copyfile(path, attempt / name))
            files[f"{folder}/{name}"] = attempt / name
    from training.account import read_account

    return Product(files=files, counts={"samples": full.samples_seen}, account=read_account(work))


def _adopt(work: Path, recipe: Recipe) -> None:
    """Begin with a copy of the unfinished training that differs in nothing but what the recipe lets change.

    Another learning rate gives another key, hence another working folder. Of several the furthest is taken.
    """
    from training.claim import differences
    from training.data import Pairs

    data, asked = Pairs(recipe.data).digest(), set(recipe.continue_with_changes)
    found: list[tuple[str, Path]] = []
    for folder in sorted(work.parent.glob("*")):
        checkpoints = sorted((folder / "checkpoints").glob("*.pt"))
        changed = differences(folder, recipe, data)
        if checkpoints and changed is not None and set(changed) <= asked:
            found.append((checkpoints[-1].name, folder))
    if found:
        shutil.copytree(max(found)[1], work, ignore=shutil.ignore_patterns("*.tmp", "model.pt", "_*"))


def sweep_work(store: Store) -> None:
    """Remove the working folders of products that are in the journal under their key."""
    done = {row.key for row in Journal(store).rows.values()}
    for folder in Path(local_path(store, "_work")).glob("*"):
        if folder.name in done:
            shutil.rmtree(folder, ignore_errors=True)


def _train_here(recipe: Recipe, threads: int) -> None:
    """Train in this process, by default with all cores: Ray starts workers with one thread each."""
    import torch

    from training.main import train

    before = torch.get_num_threads()
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        train(recipe)
    finally:
        torch.set_num_threads(before)


def _launch(recipe: Recipe, work: Path, nproc: int) -> None:
    """Train under torchrun.

    Raises:
        RuntimeError: a process failed; the message ends with what it printed last.
    """
    work.mkdir(parents=True, exist_ok=True)
    path = work / "recipe.tmp"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={nproc}"]
    environment: Mapping[str, Any] = os.environ | {
        "PYTHONPATH": os.pathsep.join([path for path in sys.path if path]),
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // nproc)),
    }
    done = subprocess.run(
        [*command, "-m", "training", str(path)], env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"torchrun ended with status {done.returncode}: {done.stderr.strip()[-2000:]}")
