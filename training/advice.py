"""Settings that are allowed and seldom meant, said before the first step."""

from training.recipe import Hyperparameters
from training.system import System

__all__ = ["advice"]


def advice(system: System, recipe: Hyperparameters, num_samples: int) -> list[str]:
    """Return a line for each setting that a person probably did not mean.

    Args:
        system: what is trained.
        recipe: how.
        num_samples: samples in the set.
    """
    lines = list(system.cautions())
    if recipe.batch_size > num_samples:
        lines.append(
            f"`batch_size` {recipe.batch_size} is larger than the set of {num_samples} samples: each batch holds some "
            "of them more than once" + (", which count as negatives of themselves" if system.couples_samples else "")
        )
    if system.couples_samples and recipe.batch_size == 1:
        lines.append(
            f"`batch_size` 1 teaches {type(system).__name__} nothing: its loss compares the samples of a batch, and "
            "is 0 for one; take as many as memory holds"
        )
    if recipe.warmup >= recipe.samples_seen:
        lines.append(
            f"`warmup` {recipe.warmup} takes the whole budget, `samples_seen` {recipe.samples_seen}: the learning rate "
            "never reaches `lr`; a tenth of the budget is usual"
        )
    return lines
