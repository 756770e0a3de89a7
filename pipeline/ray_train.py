"""The training main under Ray Train, for people who have a Ray cluster; loop and resume stay."""

from pathlib import Path
from typing import Any

from training.recipe import Recipe

__all__ = ["ray_train"]


def ray_train(recipe: Recipe, *, num_workers: int, use_gpu: bool = False, max_failures: int = 3) -> Path:
    """Run a recipe on `num_workers` Ray Train workers and return its folder.

    Args:
        recipe: what to train; its data and out_dir must be reachable under the same path from every worker.
        num_workers: ranks; batch_size must be a multiple.
        use_gpu: give each rank a GPU.
        max_failures: restarts of the group after a lost worker; each goes on from the newest checkpoint.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        _worker,
        train_loop_config=recipe.model_dump(mode="json"),
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        run_config=RunConfig(
            storage_path=str(Path(recipe.out_dir).resolve() / "ray"),
            failure_config=FailureConfig(max_failures=max_failures),
        ),
    )
    trainer.fit()
    return Path(recipe.out_dir)


def _worker(config: dict[str, Any]) -> None:
    """Train as one rank; Ray Train has joined the ranks already. `report` waits for all of them."""
    from ray import train

    from training.main import train as run

    run(Recipe(**config))
    train.report({"samples_seen": config["samples_seen"]})
