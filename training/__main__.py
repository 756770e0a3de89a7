"""`python -m training RECIPE.yaml`, also as `torchrun -m training RECIPE.yaml`."""

import logging
import sys

from training.main import read_recipe, train
from winnow.errors import UserError
from winnow.loggers import without_wandb


def main() -> int:
    """Train the recipe named on the command line; return the exit status."""
    if len(sys.argv) != 2:
        print("usage: python -m training RECIPE.yaml", file=sys.stderr)
        return 2
    without_wandb()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        print(train(read_recipe(sys.argv[1])))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
