"""Say before any work what can be known to fail: in all sections of a config, not in the first alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.config import RunConfig
from pipeline.engine.executors.ray import Ray
from pipeline.stages._training_run import check_system
from winnow.errors import UserError, joined

__all__ = ["preflight"]

TRAINING = {"train": "recipes", "filternet": "networks"}
"""Stages that train -> the key of their section that holds the recipes."""


def preflight(config: RunConfig, stages: Sequence[str]) -> None:
    """Check the sections of stages that are to run.

    What an earlier stage of the run makes, below its pool or run folder, is not asked for.

    Raises:
        UserError: a line for every problem found, each with the key, what was given, and what to change.
    """
    problems: list[str] = []
    for name in stages:
        for check in (_gpus, _training, _scorers, _tasks):
            problems += check(config, name)
    if problems:
        raise joined(problems)


def _gpus(config: RunConfig, name: str) -> Iterator[str]:
    """Look for the GPUs that workers on this machine ask for; a cluster has its own, and may grow."""
    executor = config.executor.for_stage(config.stages[name])
    if not isinstance(executor, Ray) or executor.address != "local" or not executor.gpus_per_worker:
        return
    import torch

    if (found := torch.cuda.device_count()) < executor.gpus_per_worker:
        yield (
            f"`executor.gpus_per_worker` of the stage {name} is {executor.gpus_per_worker:g}, but torch finds {found} "
            "GPUs on this machine; take it out, or join a cluster that has them with `executor.address`"
        )


def _training(config: RunConfig, name: str) -> Iterator[str]:
    """Look at the folder that trainings need and at each recipe's system and device."""
    if name not in TRAINING:
        return
    if not config.run_store.is_local:
        why = "reads samples in random order" if name == "train" else "writes checkpoints as it goes"
        yield (
            f"`run_dir` is {config.run_store.url!r}, but the stage {name} {why}: it accepts a folder on local or "
            "mounted disks; set `run_dir` to one (`pool` may stay where it is)"
        )
    for key, recipe in getattr(config.stages[name], TRAINING[name]).items():
        where = f"{name}.{TRAINING[name]}.{key}"
        yield from _problem(lambda recipe=recipe, where=where: check_system(recipe, where))  # type: ignore[misc]
        if recipe.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                yield f"`{where}.device` is cuda, but torch finds no CUDA device; use auto or cpu"


def _scorers(config: RunConfig, name: str) -> Iterator[str]:
    """Ask every scorer what its columns depend on: weights, word lists, packages of an extra."""
    if name not in ("score", "relate"):
        return
    stage: Any = config.stages[name]
    for key, scorer in stage.built.items():
        if not _made_by_the_run(config, scorer):
            yield from _problem(scorer.identity, f"`{name}.scorers.{key}`: ")


def _tasks(config: RunConfig, name: str) -> Iterator[str]:
    """Look for the files that tasks read."""
    if name != "eval":
        return
    stage: Any = config.stages[name]
    for key, task in stage.built.items():
        if not _made_by_the_run(config, task):
            yield from _problem(task.inputs, f"`eval.tasks.{key}`: ")


def _made_by_the_run(config: RunConfig, component: Any) -> bool:
    """Tell whether a component reads what a stage of this run may still have to make."""
    folders = tuple(str(config.values[key]).rstrip("/") + "/" for key in ("pool", "run_dir"))
    return any(text.startswith(folders) for text in _texts(component.model_dump(mode="json")))


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in JSON-like values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _problem(check: Callable[[], object], before: str = "") -> Iterator[str]:
    """Yield what a check complains of."""
    try:
        check()
    except UserError as error:
        yield f"{before}{error}"
