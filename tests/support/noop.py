"""A stage of very many units that hardly do anything, to see what the driver costs."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pipeline.stage import Product, Stage, Unit


class Noop(Stage):
    """Write an empty file per unit."""

    name: ClassVar[str] = "noop"
    n: int = 10

    def plan(self) -> list[Unit]:
        """One unit a number."""
        return [Unit(name=f"{i:06d}", products={f"noop/{i:06d}": "k" * 32}, spec={"n": i}) for i in range(self.n)]

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Write the file."""
        (attempt / "out").touch()
        return {f"noop/{unit.name}": Product(files={f"out/{unit.name}": attempt / "out"}, counts={"samples": 1})}
