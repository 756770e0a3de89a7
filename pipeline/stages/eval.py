"""Ask every trained model what the config's tasks ask, and write rows that statistics can use."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from eval.finite import NotFiniteError
from eval.task import Task, TaskResult
from pipeline.pools.recovery import recover_at, state_of
from pipeline.stage import Product, Stage, Unit
from winnow.account import Account
from winnow.component import build, digest
from winnow.errors import UserError
from winnow.filenames import file_name, name_of
from winnow.journal import Journal, Row
from winnow.pool import pool_shards
from winnow.storage import Store

__all__ = ["Eval"]


class Eval(Stage):
    """One unit per trained model, with all the tasks that apply to its recipe."""

    name: ClassVar[str] = "eval"
    parallel: ClassVar[bool] = False

    tasks: dict[str, dict[str, Any]] = Field(default={})
    """Task name -> fields of the task; `use` names the file in `eval/tasks/`, `recipes` restricts it."""

    @classmethod
    def tiny(cls) -> "Eval":
        """Return an instance without tasks."""
        return cls(pool="pool", run_dir="run")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.tasks:
            file_name(name)
        _build(self.tasks)  # finds the mistakes of every task before anything runs
        return self

    @cached_property
    def built(self) -> dict[str, Task]:
        """The tasks as components, by their key in the config."""
        return _build(self.tasks)

    def plan(self) -> list[Unit]:
        """Return one unit for each model in the journal that a task applies to.

        Raises:
            UserError: nothing has been trained, or a task's data are missing.
        """
        journal = Journal(self.store)
        trained = [row for row in journal.under("train/") if row.product.count("/") == 3]
        if not trained:
            raise UserError("no trained model in the journal of the run; `winnow train CONFIG` makes them")
        known = _owned_files(Journal(Store(self.pool)))
        data = {name: [_state(path, known) for path in task.inputs()] for name, task in self.built.items()}
        pool = _pool_state(self.pool)
        units = []
        for row in trained:
            recipe, subset, seed = row.product.split("/")[1:]
            names = [name for name, task in self.built.items() if not task.recipes or name_of(recipe) in task.recipes]
            if not names:
                continue
            product = f"eval/{recipe}/{subset}/{seed}"
            # which other recipes a task serves does not change its result
            specs = [self.built[name].model_dump(mode="json", exclude={"recipes"}) for name in names]
            key = digest(
                names,
                specs,
                [type(self.built[name]).__name__ for name in names],
                [data[name] for name in names],
                _model_fingerprint(row),
                pool,
            )
            spec = {
                "recipe": name_of(recipe),
                "subset": name_of(subset),
                "seed": seed,
                "tasks": names,
                "pool": pool,
                "samples_seen": row.counts.get("samples_seen", row.counts.get("samples")),
            }
            units.append(Unit(name=f"{recipe}-{subset}-{seed}", products={product: key}, spec=spec))
        return units

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Evaluate one model on its tasks."""
        import torch

        (product,) = unit.products
        spec = unit.spec
        folder = product.removeprefix("eval/")
        torch.manual_seed(self.seed)
        system = _load(Path(Store(self.run_dir).path(f"train/{folder}")))
        pool = recover_at(self.pool, spec["pool"]).fields() if spec["pool"] else {}
        files: dict[str, Path] = {}
        counts, account = {"samples": 0}, Account("test pictures")
        rows = []
        for name in spec["tasks"]:
            try:
                result = self.built[name].evaluate(system)
            except NotFiniteError as error:  # a diverged model is a result too, and the other tasks have theirs
                result = TaskResult({"main_metric": None}, "", 0, notes={"not_finite": str(error)})
                account.note(f"{name}: {error}")
            account.read += result.num_samples  # a task reads its set whole or ends
            rows.append(_row(name, self.built[name].dataset or name, spec, result) | pool)
            counts["samples"] += result.num_samples
            for file, path in _write(name, result, attempt).items():
                files[f"{product}/{file}"] = path
        path = attempt / "results.jsonl"
        path.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows), encoding="utf-8")
        files[f"{product}/results.jsonl"] = path
        return {product: Product(files=files, counts=counts, account=account)}


def _build(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Task]:
    """Build the tasks, by name."""
    return {name: build("eval.tasks", spec, name, "eval.tasks") for name, spec in sorted(tasks.items())}


def _load(folder: Path) -> Any:
    """Load the system of a training run: a plain open_clip folder by itself, anything else through training."""
    from eval.features import load_embedder

    embedder = load_embedder(folder)
    if embedder is not None:
        return embedder
    from training.main import load_system

    return load_system(folder)


def _row(name: str, dataset: str, spec: Mapping[str, Any], result: TaskResult) -> dict[str, Any]:
    """Return DataComp's result row with what identifies the model and how sure the number is."""
    interval = result.interval
    return {
        "key": name,
        "dataset": dataset,
        "metrics": result.metrics,
        "main_metric_name": result.main_metric,
        "system": spec["recipe"],
        "subset": spec["subset"],
        "seed": int(spec["seed"]) if str(spec["seed"]).isdigit() else spec["seed"],
        "samples_seen": spec["samples_seen"],
        "num_samples": result.num_samples,
        "interval": None if interval is None else [interval.low, interval.high],
        **({"notes": result.notes} if result.notes else {}),
    }


def _write(name: str, result: TaskResult, attempt: Path) -> dict[str, Path]:
    """Write the per-example rows and the pictures of a task; return them by file name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files, name = {}, file_name(name)
    if result.rows:
        files[f"samples-{name}.parquet"] = attempt / f"samples-{name}.parquet"
        pq.write_table(pa.table(result.rows), files[f"samples-{name}.parquet"])
    for picture, data in result.pictures.items():
        files[f"{name}-{picture}"] = attempt / f"{name}-{picture}"
        files[f"{name}-{picture}"].write_bytes(data)
    return files


def _pool_state(url: str) -> str:
    """Return what stands for the obtained samples in keys, "" where the models came without their pool."""
    try:
        return state_of(pool_shards(Store(url)))
    except UserError:
        return ""


def _model_fingerprint(row: Row) -> list[str]:
    """Return the hashes of what a trained system is rebuilt from; its log does not matter."""
    return [sha for name, (_, sha) in sorted(row.files.items()) if not name.endswith(".jsonl")]


def _owned_files(journal: Journal) -> dict[str, str]:
    """Return full path -> sha256 of every file that the pool's journal vouches for."""
    return {journal.store.path(name): sha for row in journal.rows.values() for name, (_, sha) in row.files.items()}


def _state(path: str, known: Mapping[str, str]) -> str:
    """Return a file's content hash where the journal knows it, else its size and time of change.

    Raises:
        UserError: there is no such file.
    """
    store = Store(path)
    if store.root in known:
        return known[store.root]
    try:
        info = store.fs.info(store.root)
    except FileNotFoundError:
        raise UserError(f"an evaluation needs {path!r}, and there is no such file") from None
    return f"{info['size']}-{info.get('mtime', info.get('ETag', ''))}"
