"""What shards a pool's download consists of: one per metadata file, and those that later rounds of retries appended.

A round takes failed rows out of shards and tries them again in new shards behind the last. It is one product
`retry/NNNNN`, named after its first new shard, with a file `retries/NNNNN.parquet` for each: metadata rows, and in the
schema's metadata where each comes from. A row that was taken says so in its old table (status `retried`), and the key
of a shard whose rows were taken says by which; its tar, and so all that was computed from it, stays as it is.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow.parquet as pq

from winnow.component import digest
from winnow.journal import Journal
from winnow.storage import Store

__all__ = ["RETRIED", "Layout", "Shard", "layout_of", "round_key", "sources_of"]

RETRIED = "retried"
"""Status of a row whose outcome is in a later shard."""


@dataclass(frozen=True)
class Shard:
    """One shard to download."""

    name: str
    metadata: str
    """The file with its rows."""
    key: str
    """Before any of its rows was taken by a retry."""
    round: str = ""
    """The product of the round that made it, "" for a shard of the pool's own metadata."""
    taken: list[str] = field(default_factory=list)
    """Later shards that took rows of it, in order."""

    @cached_property
    def keys(self) -> list[str]:
        """The keys it has had: as downloaded first, then after each later shard took rows of it."""
        return [self.key, *(digest(self.key, RETRIED, self.taken[: n + 1]) for n in range(len(self.taken)))]


@dataclass(frozen=True)
class Layout:
    """All shards by name, and the rounds of retries that are valid."""

    shards: dict[str, Shard]
    rounds: dict[str, str]
    """Product of a round -> its key."""

    def is_marked(self, shard: Shard, journal: Journal) -> bool:
        """Tell whether a shard's table says of every row that was taken that it was, if the shard is there at all."""
        row = journal.rows.get(f"download/{shard.name}")
        return row is None or row.key not in shard.keys[:-1]

    def in_force(self, shard: Shard, journal: Journal) -> bool:
        """Tell whether a shard may be downloaded: one of a round may once the rows it takes are marked."""
        if not shard.round:
            return True
        mates = [mate.name for mate in self.shards.values() if mate.round == shard.round]
        sources = [source for source in self.shards.values() if set(source.taken) & set(mates)]
        return all(self.is_marked(source, journal) for source in sources)


def layout_of(store: Store, journal: Journal, originals: Mapping[str, Shard], key: Callable[[str], str]) -> Layout:
    """Return the layout of a pool's download. A round whose sources are no longer what it took rows from is left out.

    Args:
        store: the pool.
        journal: of the pool.
        originals: the shards of the pool's own metadata, by name.
        key: gives the key of a shard, of its metadata file's hash.
    """
    shards = dict(originals)
    rounds: dict[str, str] = {}
    for row in journal.under("retry/"):
        names = {name.rpartition("/")[2].removesuffix(".parquet"): name for name in sorted(row.files)}
        if any(not store.exists(name) for name in names.values()):
            continue
        sources = {shard: sources_of(store, name) for shard, name in names.items()}
        used = sorted({source for each in sources.values() for source in each})
        if set(names) & set(shards) or set(used) - set(shards):
            continue
        if row.key != round_key({source: shards[source].key for source in used}):
            continue
        rounds[row.product] = row.key
        for shard, name in names.items():
            shards[shard] = Shard(shard, name, key(row.files[name][1]), row.product)
            for source in sources[shard]:
                shards[source].taken.append(shard)
    return Layout(shards, rounds)


def round_key(sources: Mapping[str, str]) -> str:
    """Return the key of a round from those of the shards it takes rows of."""
    return digest("retry", dict(sources))


def sources_of(store: Store, name: str) -> dict[str, list[int]]:
    """Return shard -> row numbers that the rows of a file of `retries/` were taken from, in the order of its rows."""
    with store.open(name) as file:
        noted = (pq.read_schema(file).metadata or {}).get(b"sources", b"{}")
    return {str(shard): [int(row) for row in rows] for shard, rows in json.loads(noted).items()}
