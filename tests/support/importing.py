"""A stage that imports timm, as whatever reads pictures by a network does, in a worker that is killed."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pipeline.stage import Product, Stage, Unit


class Importing(Stage):
    """Write the version of timm, in the second attempt: the first is killed after the import."""

    name: ClassVar[str] = "importing"

    def plan(self) -> list[Unit]:
        """One unit."""
        return [Unit(name="timm", products={"importing/timm": "k" * 32})]

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Import it."""
        import timm

        once = Path(self.run_dir) / "tried"
        if not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (attempt / "out").write_text(timm.__version__)
        return {"importing/timm": Product(files={"out/timm": attempt / "out"})}
