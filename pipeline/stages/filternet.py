"""Train the loop's own filter network on the pool's trusted pairs, for pools without a pretrained CLIP at hand.

Source: Fang et al. 2023, Data filtering networks (arXiv 2309.17425): a filter learnt from a small set of good pairs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from pipeline.stage import Product, Stage, Unit
from pipeline.training_run import check_system, local_path, recipe_digest, sweep_work, train_product
from training.recipe import Hyperparameters
from winnow.component import digest
from winnow.errors import UserError
from winnow.storage import Store

__all__ = ["FilterNet"]


class FilterNet(Stage, Hyperparameters):
    """One unit; its fields are those of a recipe. Scorers find the weights in RUN/filternet/model.pt."""

    name: ClassVar[str] = "filternet"
    parallel: ClassVar[bool] = False

    data: str = "trusted"
    """Folder of the pool that holds shards of verified pairs."""
    nproc: int = Field(default=1, ge=1)
    """Processes on this machine: GPUs, usually."""

    @classmethod
    def tiny(cls) -> Self:
        """Return the smallest valid instance, for the contract tests."""
        return cls(pool="pool", run_dir="run", **Hyperparameters.tiny().model_dump())

    def plan(self) -> list[Unit]:
        """Return the one unit.

        Raises:
            UserError: the pool has no such shards, or the system's fields are wrong.
        """
        local_path(self.store)
        check_system(self, "filternet")
        pool = Store(self.pool)
        tars = pool.list(self.data, ".tar")
        if not tars:
            raise UserError(
                f"no shards in {pool.path(self.data)!r}; `filternet` trains on a source's verified pairs, which "
                "`winnow ingest CONFIG` writes where a source has some; else drop the section and give scorers "
                "pretrained weights"
            )
        row = self.upstream().rows.get(f"ingest/{self.data}")
        state = row.fingerprint() if row is not None else [[name, pool.size(name)] for name in tars]
        key = digest(recipe_digest(self), state, self.seed)
        return [Unit(name="model", products={"filternet/model": key})]

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Remove the working folder once its result is journalled."""
        yield self
        sweep_work(self.store)

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Train the network."""
        ((product, key),) = unit.products.items()
        pool = Store(self.pool)
        data = [local_path(pool, name) for name in pool.list(self.data, ".tar")]
        return {product: train_product(self.store, "filternet", key, self, data, self.seed, self.nproc, attempt)}
