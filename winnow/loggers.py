"""Keep loggers that nothing here uses out of a process of our own."""

import sys

__all__ = ["without_wandb"]


def without_wandb() -> None:
    """Have imports of wandb fail in this process, as where it is not installed.

    timm imports it if it can, for training scripts of its own. That takes half a second and makes two folders in the
    temporary directory, which a worker that is killed, as those of Ray always are, leaves there. A process that has
    imported wandb already keeps it.
    """
    sys.modules.setdefault("wandb", None)  # type: ignore[arg-type]
