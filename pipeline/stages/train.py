"""Train every recipe on every subset it names with every seed; a killed training goes on from its checkpoints."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from pipeline.stage import Product, Stage, Unit
from pipeline.stages._training_run import check_system, local_path, recipe_digest, sweep_work, train_product
from training.recipe import Hyperparameters
from winnow.component import digest
from winnow.errors import UserError, unknown
from winnow.filenames import file_name, name_of
from winnow.journal import Journal, Row

__all__ = ["Train"]


class SubsetRecipe(Hyperparameters):
    """A recipe and the subsets it is for. All subsets get the same number of samples seen, whatever their size."""

    subsets: Literal["all"] | list[str] = "all"
    """Names of strategies, or all that were resharded."""


class Train(Stage):
    """One unit per recipe, subset and seed; subsets of the same shards share it."""

    name: ClassVar[str] = "train"
    parallel: ClassVar[bool] = False

    recipes: dict[str, SubsetRecipe]
    """Recipes by the name that results carry."""
    seeds: list[int] = Field(default=[0], min_length=1)
    """Each seed is a training of its own; differences between them are the noise of the comparison."""
    nproc: int = Field(default=1, ge=1)
    """Processes on this machine: GPUs, usually."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads of one training where `nproc` is 1; 0 takes every core. With `executor.per_stage.train.workers` above
    1 as many trainings share the machine."""

    @classmethod
    def tiny(cls) -> Self:
        """Return the smallest valid instance, for the contract tests."""
        return cls(pool="pool", run_dir="run", recipes={"clip": SubsetRecipe.tiny()})

    def plan(self) -> list[Unit]:
        """Return one unit for each recipe, subset and seed; what would be trained twice is one unit of two products.

        Raises:
            UserError: nothing is resharded, all subsets are empty, or a recipe names a subset or system that does not
                exist.
        """
        local_path(self.store)
        shards = self._shards()
        if not shards:
            raise UserError("no resharded subset in the journal of the run; `winnow reshard CONFIG` makes them")
        empty = _empty(shards)
        if len(empty) == len(shards):
            raise UserError(f"no subset holds a sample ({', '.join(sorted(empty))}); loosen what `select` asks for")
        units: dict[str, Unit] = {}
        for name, recipe in sorted(self.recipes.items()):
            check_system(recipe, f"train.recipes.{name}")
            recipe_key = recipe_digest(recipe)
            for subset in sorted(shards) if recipe.subsets == "all" else recipe.subsets:
                if subset not in shards:
                    raise unknown(f"subset in `train.recipes.{name}.subsets`", subset, shards)
                if subset in empty:
                    continue
                prints = [row.fingerprint() for row in shards[subset]]
                for seed in self.seeds:
                    key = digest(recipe_key, prints, seed)
                    spec = {"recipe": name, "subset": subset, "seed": seed}
                    # equal shards give equal weights: two controls of one size are one training
                    parts = [file_name(name), file_name(subset), str(seed)]
                    unit = units.setdefault(key, Unit(name="-".join(parts), products={}, spec=spec))
                    units[key] = replace(
                        unit, products={**unit.products, f"train/{file_name(name)}/{file_name(subset)}/{seed}": key}
                    )
        return list(units.values())

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Remove working folders whose results are journalled, once all units are through."""
        yield self
        sweep_work(self.store)

    def remarks(self) -> list[str]:
        """Name the subsets without samples."""
        return [f"subset `{name}` holds no sample: nothing is trained on it" for name in sorted(_empty(self._shards()))]

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Train one recipe on one subset."""
        spec = unit.spec
        tars = [name for row in self._shards()[spec["subset"]] for name in sorted(row.files) if name.endswith(".tar")]
        data = [local_path(self.store, name) for name in tars]
        recipe, made = self.recipes[spec["recipe"]], {}
        for number, (product, key) in enumerate(unit.products.items()):
            # the first trains; all others have its key, find its working folder finished and copy from it
            folder = attempt / str(number)
            folder.mkdir()
            made[product] = train_product(
                self.store, product, key, recipe, data, spec["seed"], self.nproc, folder, self.threads
            )
        return made

    def _shards(self) -> dict[str, list[Row]]:
        """Return the journal rows of each subset's shards, in order."""
        subsets: dict[str, list[Row]] = {}
        for row in Journal(self.store).under("reshard/"):
            if any(name.endswith(".tar") for name in row.files):
                subsets.setdefault(name_of(row.product.split("/")[1]), []).append(row)
        return subsets


def _empty(shards: Mapping[str, list[Row]]) -> set[str]:
    """Return the subsets whose shards hold no sample, as their journal rows count them."""
    return {name for name, rows in shards.items() if all(row.counts.get("samples") == 0 for row in rows)}
