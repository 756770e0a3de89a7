"""A pool on disk as `download` and `score` leave it, and a driver small enough to read."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.perform import perform
from pipeline.stage import Stage
from winnow.columns import ColumnWriter, column_path
from winnow.journal import Journal, Row
from winnow.shards import ShardWriter
from winnow.storage import Store


@dataclass
class Made:
    """What a made pool holds, for the tests to compare with."""

    path: Path
    uids: list[str]
    """Of every sample that was downloaded, in pool order."""
    members: list[dict[str, bytes]]
    """Its members by suffix, likewise."""
    columns: dict[str, list[Any]]
    """Scorer columns, likewise."""


def uid_of(number: int) -> str:
    """Return a uid that looks random."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def record(store: Store, product: str, files: Mapping[str, bytes]) -> None:
    """Write a product's files and its journal row."""
    for name, data in files.items():
        store.write(name, data)
    hashes = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    Journal(store).append(Row(product=product, key="made", files=hashes))


def write_pool(
    path: Path,
    sizes: Sequence[int] = (7, 0, 5, 9),
    *,
    columns: Mapping[str, Callable[[int], Any]] | None = None,
    number_of: Callable[[int], int] = lambda sample: sample,
    with_uids: bool = True,
) -> Made:
    """Write a pool with one failed row in front of every third sample.

    Args:
        path: its folder.
        sizes: samples of each shard.
        columns: "scorer.column" -> value of the n-th sample of the pool.
        number_of: n -> what uid and content are made from; equal numbers are duplicates.
        with_uids: False for a pool as img2dataset makes it without the extra column.
    """
    store, made = Store(path), Made(path, [], [], {name: [] for name in columns or {}})
    for shard, size in enumerate(sizes):
        rows, start, tar = [], len(made.uids), io.BytesIO()
        writer = ShardWriter(tar)
        for place in range(size):
            number, key = number_of(start + place), f"{shard:05d}{place:04d}"
            row: dict[str, Any] = {"url": f"http://pictures/{number}", "caption": f"a caption of picture {number}"}
            row |= {"uid": uid_of(number)} if with_uids else {}
            row |= {"original_width": 199 + number % 3 if number % 5 else None, "original_height": 300}
            if place % 3 == 0:
                failed = {"status": "failed_to_download", "error_message": "404", "key": f"{key}-failed"}
                rows.append(row | failed | ({"uid": uid_of(-number - 1)} if with_uids else {}))
            row |= {"key": key, "status": "success", "error_message": None}
            rows.append(row)
            picture = np.random.default_rng(number).bytes(300 + 217 * (number % 7))
            side = json.dumps(row, indent=4).encode()
            made.members.append({"jpg": picture, "txt": row["caption"].encode(), "json": side})
            made.uids.append(uid_of(number))
            writer.write(key, made.members[-1])
        writer.close()
        kinds = dict.fromkeys(("url", "caption", *(("uid",) if with_uids else ())), pa.string())
        kinds |= {"original_width": pa.int64(), "original_height": pa.int64()}
        kinds |= dict.fromkeys(("status", "error_message", "key"), pa.string())
        table = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(kinds)), table)
        name = f"shards/{shard:05d}"
        record(store, f"download/{shard:05d}", {f"{name}.tar": tar.getvalue(), f"{name}.parquet": table.getvalue()})
        for scorer in {name.partition(".")[0] for name in columns or {}}:
            write_scores(made, scorer, shard, start, columns or {})
    return made


def write_scores(made: Made, scorer: str, shard: int, start: int, columns: Mapping[str, Callable[[int], Any]]) -> None:
    """Write the column file of a scorer for the samples from `start` on."""
    mine = {name: rule for name, rule in columns.items() if name.partition(".")[0] == scorer}
    values = {name: [rule(n) for n in range(start, len(made.uids))] for name, rule in mine.items()}
    writer, path = ColumnWriter(), made.path / f"{scorer}.tmp"
    arrays = {
        name.partition(".")[2]: np.array(column, np.float32) if not any(isinstance(v, str) for v in column) else column
        for name, column in values.items()
    }
    writer.add(range(len(made.uids) - start), arrays)
    writer.write(path, made.uids[start:], {"name": scorer})
    name = f"{shard:05d}"
    record(Store(made.path), f"score/{scorer}/{name}", {column_path(scorer, name): path.read_bytes()})
    path.unlink()
    for column, numbers in values.items():
        made.columns[column] += numbers


@pytest.fixture(scope="session")
def make_pool() -> Callable[..., Made]:
    """Return `write_pool`."""
    return write_pool


@pytest.fixture(scope="session")
def run_stage() -> Callable[[Stage], list[str]]:
    """Return a driver that runs what is not done, and gives the names of the units that it ran."""

    def drive(stage: Stage) -> list[str]:
        journal, ran = Journal(stage.store), []
        for unit in stage.plan():
            if all(journal.done(product, key) for product, key in unit.products.items()):
                continue
            outcome = perform(stage, unit)
            assert not outcome.error, outcome.detail or outcome.error
            for row in outcome.rows:
                journal.append(row)
            ran.append(unit.name)
        return ran

    return drive
