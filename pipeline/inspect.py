"""Look without touching: how far each stage is, and everything known about one sample."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config import RunConfig
from pipeline.runner import pending
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.pool import PoolShard, pool_shards, read_table
from winnow.storage import Store
from winnow.uid import make_uid

__all__ = ["StageState", "explain", "stage_states"]

LONGEST = 160
"""Characters shown of one value."""

Section = tuple[str, Sequence[tuple[str, ...]]]


@dataclass(frozen=True)
class StageState:
    """How far one stage is."""

    stage: str
    planned: int | None
    """Units; None where it cannot be planned yet."""
    left: int
    note: str

    def numbers(self) -> tuple[str, str, str]:
        """Return units, done and to do as texts."""
        if self.planned is None:
            return "?", "?", "?"
        return str(self.planned), str(self.planned - self.left), str(self.left)


def stage_states(config: RunConfig, stages: list[str]) -> list[StageState]:
    """Plan every stage as far as the disk allows and count what is done."""
    states = []
    waiting_for = ""
    for name in stages:
        stage = config.stages[name]
        try:
            units = stage.plan()
        except UserError as error:
            note = f"waits for {waiting_for}" if waiting_for else str(error)
            states.append(StageState(name, None, 0, note))
            continue
        left = pending(units, Journal(stage.store))
        shown = ", ".join(unit.name for unit in left[:4]) + (", ..." if len(left) > 4 else "")
        if left and waiting_for:
            shown += f" (inputs may still change: {waiting_for} is not finished)"
        states.append(StageState(name, len(units), len(left), shown))
        waiting_for = waiting_for or (name if left else "")
    return states


def explain(config: RunConfig, uid: str) -> Iterator[Section]:
    """Yield titled lists of (name, value) rows about one sample.

    Args:
        config: the run.
        uid: the sample's uid or a prefix of it.

    Raises:
        UserError: no sample, or more than one, has such a uid.
    """
    pool = Store(config.values["pool"])
    shard, row, position = _find(pool, uid)
    uid = row["uid"]
    yield f"sample {uid}", [(name, _short(value)) for name, value in row.items() if name != "uid" and value is not None]
    yield "where it lies", [("shard", shard.tar), ("key", str(row.get("key"))), ("status", str(row.get("status")))]
    if position is None:
        yield "scores", [("none", f"it was not downloaded: {row.get('error_message') or row.get('status')}")]
        return
    folders = sorted({row.product.split("/")[1] for row in Journal(pool).under("score/")})
    scores = [line for scorer in folders for line in _scores(pool, scorer, shard, position)]
    yield "columns", scores or [("none", "it was not scored yet: `winnow score`")]
    run = config.run_store
    verdicts = [_verdict(run, name, uid) for name in run.list("subsets", ".parquet")]
    yield "strategies", verdicts or [("none", "no strategy has judged it yet: `winnow select`")]
    yield "shards it was copied to", list(_copies(run, uid)) or [("none", "")]


def _find(pool: Store, uid: str) -> tuple[PoolShard, dict[str, Any], int | None]:
    """Return a sample's shard, its table row, and its position among the shard's successful samples."""
    found = []
    for shard in pool_shards(pool):
        table = read_table(pool, shard)
        if "uid" not in table.column_names:
            pairs = zip(table["url"].to_pylist(), table["caption"].to_pylist(), strict=True)
            table = table.append_column("uid", pa.array([make_uid(url, text or "") for url, text in pairs]))
        for index in pc.indices_nonzero(pc.starts_with(table["uid"], uid)).to_pylist():
            row = table.slice(index, 1).to_pylist()[0]
            ok = pc.equal(table["status"], "success")
            position = pc.sum(ok.slice(0, index)).as_py() or 0
            found.append((shard, row, position if row["status"] == "success" else None))
    if len(found) != 1:
        many = f"{len(found)} samples have" if found else "no sample of the pool has"
        raise UserError(f"{many} a uid that starts with {uid!r}; give more of its 32 characters, or another pool")
    return found[0]


def _scores(pool: Store, scorer: str, shard: PoolShard, position: int) -> Iterator[tuple[str, str]]:
    """Yield one line per column of a scorer; embeddings are named, not printed."""
    name = f"columns/{scorer}/{shard.name}.parquet"
    if not pool.exists(name):
        return
    table = pq.read_table(io.BytesIO(pool.read(name)))
    for column, value in table.slice(position, 1).to_pylist()[0].items():
        if column != "uid" and not (column == "error" and value is None):
            yield (
                f"{scorer}.{column}",
                f"{len(value)} numbers" if column.endswith("embedding") and value else _short(value),
            )


def _verdict(run: Store, name: str, uid: str) -> tuple[str, ...]:
    """Return (strategy, kept or dropped, reason)."""
    table = pq.read_table(io.BytesIO(run.read(name)), filters=[("uid", "==", uid)])
    strategy = name.rpartition("/")[2].removesuffix(".parquet")
    if table.num_rows == 0:
        return strategy, "unknown", "the pool has changed since: repeat `winnow select`"
    row = table.to_pylist()[0]
    times = f" {row['count']} times" if row["count"] > 1 else ""
    return strategy, f"[green]kept{times}[/green]" if row["count"] else "[red]dropped[/red]", row["reason"]


def _copies(run: Store, uid: str) -> Iterator[tuple[str, str]]:
    """Yield (shard, key) for each copy of the sample in the run's shards."""
    for row in Journal(run).under("reshard/"):
        table_name = next((name for name in row.files if name.endswith(".parquet")), None)
        if table_name is not None:
            table = pq.read_table(
                io.BytesIO(run.read(table_name)), columns=["key", "uid"], filters=[("uid", "==", uid)]
            )
            for key in table["key"].to_pylist():
                yield table_name.removesuffix(".parquet") + ".tar", key


def _short(value: Any) -> str:
    """Return a value as one line of bounded length."""
    text = f"{value:.4f}" if isinstance(value, float) else str(value).replace("\n", " ")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
