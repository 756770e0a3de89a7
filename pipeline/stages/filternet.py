"""Train the loop's own filter networks: on verified pairs, on the raw pool, or on from one another.

Source: Fang et al. 2023, Data filtering networks (arXiv 2309.17425): a filter learnt from a small set of good pairs.
Maini et al. 2023, T-MARS (arXiv 2307.03132), for the contrast with a network of the raw pool (C-RHO) and for the
similarity along a fine-tuning on clean pairs (C-SSFT).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from pipeline.stage import Product, Stage, Unit
from pipeline.stages._training_run import check_system, local_path, recipe_digest, sweep_work, train_product
from training.recipe import Hyperparameters
from winnow.component import digest
from winnow.errors import UserError, unknown
from winnow.journal import Journal
from winnow.pool import pool_shards
from winnow.storage import Store

__all__ = ["FilterNet"]

RAW_POOL = "pool"


class Network(Hyperparameters):
    """One network: a recipe, what it learns from and where it starts."""

    data: str = "trusted"
    """Folder of the pool that holds shards of verified pairs; `pool` is the raw pool: all that was downloaded."""
    init: str | None = None
    """Another network of the section, or the path of a checkpoint, to go on from; None starts from random weights."""


class FilterNet(Stage):
    """One unit per network. Scorers find the weights in RUN/filternet/<network>/model.pt and snapshots/00001.pt ..."""

    name: ClassVar[str] = "filternet"
    parallel: ClassVar[bool] = False

    networks: dict[str, Network] = Field(min_length=1)
    """Networks by the name that their folder gets."""
    nproc: int = Field(default=1, ge=1)
    """Processes on this machine: GPUs, usually."""

    @classmethod
    def tiny(cls) -> Self:
        """Return the smallest valid instance, for the contract tests."""
        return cls(pool="pool", run_dir="run", networks={"trusted": Network.tiny()})

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.networks:
            if not name.replace("-", "_").isidentifier():
                raise UserError(f"a network's name becomes a folder: letters, digits, _ and -, not {name!r}")
        self._ordered()
        return self

    def plan(self) -> list[Unit]:
        """Return one unit per network, each after the one it goes on from.

        Raises:
            UserError: the pool has no such shards, a system's fields are wrong, or `init` names nothing.
        """
        local_path(self.store)
        keys: dict[str, str] = {}
        units = []
        for name in self._ordered():
            network = self.networks[name]
            check_system(self._recipe(name), f"filternet.networks.{name}")
            # another network's key tells all of it; a checkpoint from elsewhere is told by its content
            start = keys.get(network.init or "")
            recipe = recipe_digest(self._recipe(name) if start is None else network)
            keys[name] = digest(_product(name), recipe, start, self._data_state(network.data), self.seed)
            spec = {"network": name, "after": {_product(str(network.init)): start} if start else {}}
            units.append(Unit(name=name, products={_product(name): keys[name]}, spec=spec))
        return units

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Remove working folders whose results are journalled."""
        yield self
        sweep_work(self.store)

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Train one network.

        Raises:
            RuntimeError: the network it goes on from is not there; the unit's next attempt comes after that one's.
        """
        ((product, key),) = unit.products.items()
        name, journal = unit.spec["network"], Journal(self.store)
        for needed, its_key in unit.spec["after"].items():
            if not journal.done(needed, its_key):
                raise RuntimeError(f"{product} goes on from {needed}, which could not be trained")
        data = self._tars(self.networks[name].data)
        made = train_product(self.store, product, key, self._recipe(name), data, self.seed, self.nproc, attempt)
        return {product: made}

    def _ordered(self) -> list[str]:
        """Return the networks' names, each after the one it goes on from, else as they are configured.

        Raises:
            UserError: networks go on from each other in a circle.
        """
        ordered: dict[str, None] = {}
        for name in self.networks:
            path: list[str] = []
            while name in self.networks and name not in ordered:
                if name in path:
                    raise UserError(f"filternet.networks: {' -> '.join([*path, name])}: `init` goes in a circle")
                path.append(name)
                name = self.networks[name].init or ""
            ordered |= dict.fromkeys(reversed(path))
        return list(ordered)

    def _recipe(self, name: str) -> Network:
        """Return a network's recipe with the weights to start from in its system's field `pretrained`.

        Raises:
            UserError: `init` names neither a network nor a file, or the system has weights to start from already.
        """
        network = self.networks[name]
        where = f"filternet.networks.{name}"
        if network.init is None:
            return network
        if network.system.get("pretrained"):
            raise UserError(f"`{where}` has both `init` and `system.pretrained`; give one of them")
        if network.init in self.networks:
            path = local_path(self.store, f"{_product(network.init)}/model.pt")
        elif Path(network.init).is_file():
            path = network.init
        else:
            raise unknown(f"network or checkpoint in `{where}.init`", network.init, self.networks)
        system: dict[str, Any] = {**network.system, "pretrained": path}
        return network.model_copy(update={"system": system})

    def _tars(self, data: str) -> list[str]:
        """Return the local paths of the shards to learn from."""
        pool = Store(self.pool)
        names = [shard.tar for shard in pool_shards(pool)] if data == RAW_POOL else pool.list(data, ".tar")
        return [local_path(pool, name) for name in names]

    def _data_state(self, data: str) -> Any:
        """Return what changes when the shards to learn from do.

        Raises:
            UserError: there are none.
        """
        pool = Store(self.pool)
        if data == RAW_POOL:
            return [shard.fingerprint for shard in pool_shards(pool)]
        tars = pool.list(data, ".tar")
        if not tars:
            raise UserError(
                f"no shards in {pool.where(data)!r}; `filternet` trains on a source's verified pairs, which "
                "`winnow ingest CONFIG` writes where a source has some, or on the pool itself (`data: pool`); else "
                "drop the section and give scorers pretrained weights"
            )
        row = self.upstream().rows.get(f"ingest/{data}")
        return row.fingerprint() if row is not None else [[name, pool.size(name)] for name in tars]


def _product(name: str) -> str:
    """Return a network's product, which is its folder too."""
    return f"filternet/{name}"
