"""Try failed rows of a download again, in new shards behind the last; nothing that stands is fetched twice.

A round is prepared in three steps, each of which a repeat of the command takes up where it was left: its lists of rows
are written and journalled at once, the tables of the shards they come from are marked one by one, and then the download
stage makes the new shards like any others. See `pipeline.download.layout` for what lies on disk.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import RunConfig
from pipeline.download.failures import failure_classes
from pipeline.download.layout import RETRIED, Layout, Shard, round_key, sources_of
from pipeline.download.rows import samples_per_shard
from pipeline.download.shard import ON_REQUEST, OWN, counts_of, statistics
from pipeline.stages.download import Download
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.storage import Store

__all__ = ["Prepared", "prepare"]


@dataclass
class Prepared:
    """What a round will do."""

    shards: list[str] = field(default_factory=list)
    """The new shards, "00007"."""
    rows: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    """Failures by message, of the rows that are tried again."""
    resumed: bool = False
    """The round is one that an earlier command left unfinished."""


def prepare(config: RunConfig, classes: frozenset[str]) -> Prepared:
    """Prepare a round, or the rest of one that was left unfinished; `run_stage(config, "download")` does it then.

    Args:
        config: of a pool whose download is done.
        classes: of failures to try again, of `pipeline.download.failures`.

    Raises:
        UserError: the download is not done under this config.
    """
    stage = config.stages.get("download")
    if not isinstance(stage, Download):
        raise UserError("the config has no section `download`, so there is nothing to try again")
    store = stage.store
    with store.exclusive():
        journal = Journal(store)
        layout = stage.layout()
        unfinished = [shard for shard in layout.shards.values() if not _is_done(shard, journal)]
        if left := [shard.name for shard in unfinished if not shard.round]:
            raise UserError(
                f"{len(left)} of the pool's shards are not downloaded under this config, such as {left[0]}; "
                "`winnow download` does that first"
            )
        prepared = Prepared([shard.name for shard in unfinished], resumed=bool(unfinished))
        if not unfinished:
            prepared = _new_round(store, journal, layout, classes)
            layout = stage.layout()
        for shard in layout.shards.values():
            if not layout.is_marked(shard, journal):
                _mark(store, journal, shard)
    return prepared


def _is_done(shard: Shard, journal: Journal) -> bool:
    """Tell whether a shard was downloaded, with or without the marks it should have by now."""
    return any(journal.done(f"download/{shard.name}", key) for key in shard.keys)


def _new_round(store: Store, journal: Journal, layout: Layout, classes: frozenset[str]) -> Prepared:
    """Write and journal the lists of a new round's rows."""
    prepared = Prepared()
    names = list(layout.shards)
    width, following = max(map(len, names)), max(map(int, names)) + 1
    files: dict[str, tuple[int, str]] = {}
    used: dict[str, str] = {}
    with store.attempt() as attempt:
        for number, table in enumerate(_lists(store, layout, classes, prepared), following):
            name = f"{number:0{width}d}"
            path = attempt / f"{name}.parquet"
            pq.write_table(table, path)
            sources = json.loads(table.schema.metadata[b"sources"])
            used |= {source: layout.shards[source].key for source in sources}
            prepared.shards.append(name)
            prepared.rows += table.num_rows
            files[f"retries/{name}.parquet"] = _state(path)
        for name in files:
            store.commit(attempt / name.rpartition("/")[2], name)
    if files:
        product, counts = f"retry/{prepared.shards[0]}", {"samples": prepared.rows}
        journal.append(Row(product=product, key=round_key(used), files=files, counts=counts))
    return prepared


def _lists(store: Store, layout: Layout, classes: frozenset[str], prepared: Prepared) -> Iterator[pa.Table]:
    """Yield the metadata rows to try again, in tables of a shard each, with their origin in the schema's metadata."""
    waiting: list[tuple[str, list[int], pa.Table]] = []
    count = size = 0

    def merged() -> pa.Table:
        nonlocal waiting, count
        parts, left, need = [], [], size
        sources: dict[str, list[int]] = {}
        for shard, rows, table in waiting:
            if need:
                parts.append(table.slice(0, need))
                sources[shard] = rows[:need]
            if len(rows) > need:
                left.append((shard, rows[need:], table.slice(need)))
            need = max(0, need - len(rows))
        waiting, count = left, max(0, count - size)
        noted = {"rows_per_file": str(size), "sources": json.dumps(sources)}
        return pa.concat_tables(parts).replace_schema_metadata(noted)

    for shard in layout.shards.values():
        with store.open(f"shards/{shard.name}.parquet") as file:
            table = pq.read_table(file, columns=["status", "error_message"])
        rows = []
        for row, (status, message) in enumerate(zip(*(column.to_pylist() for column in table), strict=True)):
            if status not in ("success", RETRIED) and failure_classes(message or "") & classes:
                rows.append(row)
                prepared.classes[message] += 1
        if not rows:
            continue
        with store.open(shard.metadata) as file:
            metadata = pq.read_table(file)
        size = size or samples_per_shard(metadata)
        waiting.append((shard.name, rows, metadata.take(rows)))
        count += len(rows)
        while count >= size:
            yield merged()
    if count:
        yield merged()


def _mark(store: Store, journal: Journal, shard: Shard) -> None:
    """Say in a shard's table, statistics and journal row which of its rows are in later shards.

    Ended half-way, the shard is no longer journalled: then the next download makes it anew, with the same marks.
    """
    product = f"download/{shard.name}"
    old = journal.rows[product]
    table_name, stats_name = f"shards/{shard.name}.parquet", f"shards/{shard.name}_stats.json"
    with store.open(table_name) as file:
        table = pq.read_table(file)
    where = {
        row: later for later in shard.taken for row in sources_of(store, f"retries/{later}.parquet").get(shard.name, ())
    }
    for name in table.column_names:
        if (name in OWN and name != "key") or name in ON_REQUEST:
            values = table[name].to_pylist()
            for row, later in where.items():
                values[row] = {"status": RETRIED, "error_message": f"in {later}"}.get(name)
            position, kind = table.column_names.index(name), table.schema.field(name).type
            table = table.set_column(position, name, pa.array(values, kind))
    stats = statistics(table)
    if converted := json.loads(store.read(stats_name)).get("converted"):
        stats["converted"] = converted  # of successes, which stay as they are
    with store.attempt() as attempt:
        pq.write_table(table, attempt / "table")
        (attempt / "stats").write_text(json.dumps(stats, indent=4), encoding="utf-8")
        files = {**old.files, table_name: _state(attempt / "table"), stats_name: _state(attempt / "stats")}
        journal.forget(product)
        store.commit(attempt / "table", table_name)
        store.commit(attempt / "stats", stats_name)
    journal.append(replace(old, key=shard.keys[-1], files=files, counts=counts_of(stats)))


def _state(path: Path) -> tuple[int, str]:
    """Return a file's size and sha256, as the journal has them."""
    return path.stat().st_size, sha256(path.read_bytes()).hexdigest()
