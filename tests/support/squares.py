"""A stage small enough to break on purpose, in a module that worker processes can import."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pipeline.stage import Product, Stage, Unit
from winnow.component import digest
from winnow.errors import UserError


class Squares(Stage):
    """Write n squared into one file per n; misbehave for the numbers named in `faults`, once or always."""

    name: ClassVar[str] = "squares"
    numbers: tuple[int, ...] = (1, 2, 3, 4, 5)
    power: int = 2
    faults: dict[int, str] = Field(default_factory=dict)
    no_setup: bool = False

    def setup(self) -> None:
        """Fail if asked to."""
        if self.no_setup:
            raise RuntimeError("the model cannot be loaded")

    def plan(self) -> list[Unit]:
        """One unit a number."""
        return [
            Unit(name=str(n), products={f"squares/{n}": digest(n, self.power)}, spec={"n": n}) for n in self.numbers
        ]

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Write the file, or misbehave first."""
        n = unit.spec["n"]
        out = attempt / "out"
        out.write_text("half")
        self._misbehave(self.faults.get(n, ""), n)
        out.write_text(str(n**self.power))
        return {f"squares/{n}": Product(files={f"out/{n}.txt": out}, counts={"samples": n})}

    def _misbehave(self, fault: str, n: int) -> None:
        once = Path(self.run_dir) / f"tried-{n}"
        if fault.endswith("once"):
            if once.exists():
                return
            once.touch()
        if fault.startswith("raise"):
            raise RuntimeError(f"number {n} is broken")
        if fault.startswith("threads"):
            raise RuntimeError(f"{os.environ.get('OMP_NUM_THREADS')} threads")
        if fault.startswith("pid"):
            raise UserError(str(os.getpid()))
        if fault.startswith("user"):
            raise UserError(f"number {n} is not allowed")
        if fault.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.startswith("hang"):
            time.sleep(3600)
