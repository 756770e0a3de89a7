"""Copy the kept samples of each subset into shards of their own, in one global random order, never re-encoded.

The place of every sample is decided first and depends on its uid and the seed alone; then each output shard is a unit
that any worker can make at any time. DataComp's resharder, for contrast, keeps the order of the pool, cannot resume,
and numbers its output by which worker came first.
"""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from filters.subset import hash_uids
from pipeline.stage import Product, Stage, Unit
from pipeline.stages._hash_behind import HashBehind
from winnow.component import digest
from winnow.errors import UserError, unknown
from winnow.filenames import file_name, name_of
from winnow.journal import Journal, Row
from winnow.pool import PoolShard, pool_shards
from winnow.shards import ShardWriter
from winnow.storage import Store
from winnow.tar import index_members, sliceable
from winnow.tar_header import BLOCK, PADDING, header_blocks
from winnow.uid import to_hex
from winnow.verdicts import read_verdicts

__all__ = ["Reshard"]

INDEXERS = 2
"""Source tars that are indexed at a time: half of that is waiting for pages of the file."""
WRITTEN_TOGETHER = 256
"""Samples."""
WINDOW_BYTES = 16 << 20
WINDOW_SAMPLES = 16
"""A window has at least so many bytes and takes at least so many samples from each source, opened anew for it."""


class Reshard(Stage):
    """Write RUN/shards/<subset>/NNNNNNNN.tar, .parquet (key, uid, source) and _stats.json (DataComp's).

    Copy j of a sample has the key `<uid>-<j>`, as in DataComp; its members are those of the pool, byte for byte.

    A unit names a subset and a shard number. A worker works out the order of the whole subset once (two seconds for a
    million kept samples, 36 bytes each) and the positions in every source tar once (about 31 bytes a sample of the
    pool), and remembers both. It writes an output shard while reading each source tar front to back; in memory are the
    headers of the output and one member at a time.
    """

    name: ClassVar[str] = "reshard"

    strategies: list[str] | None = None
    """The subsets to write; all that `select` made if not given."""
    samples_per_shard: int = Field(default=10_000, ge=1)
    """Samples in each output shard but the last."""

    def plan(self) -> list[Unit]:
        """Return one unit per output shard; an empty subset is one empty shard, not nothing.

        Raises:
            UserError: `select` has not run, or a named subset is none of its own.
        """
        rows = {name_of(row.product.removeprefix("select/")): row for row in Journal(self.store).under("select/")}
        if not rows:
            raise UserError(f"no subsets in {self.run_dir!r}; run `winnow select` first")
        for name in self.strategies or ():
            if name not in rows:
                raise unknown("subset in `reshard.strategies`", name, rows)
        sources = [shard.fingerprint for shard in pool_shards(Store(self.pool))]
        return [
            unit
            for name in (rows if self.strategies is None else dict.fromkeys(self.strategies))
            for unit in self._units(name, rows[name], sources)
        ]

    def _units(self, subset: str, row: Row, sources: list[str]) -> list[Unit]:
        """Return the units of one subset."""
        key = digest(row.fingerprint(), sources, self.seed, self.samples_per_shard)
        num_shards = max(1, -(-row.counts["kept"] // self.samples_per_shard))
        return [
            Unit(
                name=f"{file_name(subset)}/{number:08d}",
                products={f"reshard/{file_name(subset)}/{number:08d}": key},
                spec={"subset": subset, "number": number, "key": key},
            )
            for number in range(num_shards)
        ]

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Write one output shard."""
        subset, number = unit.spec["subset"], unit.spec["number"]
        order = _order(self.pool, self.run_dir, subset, self.seed, unit.spec["key"])
        mine = order.part(number * self.samples_per_shard, (number + 1) * self.samples_per_shard)
        shards = _shards(self.pool, unit.spec["key"])
        with (attempt / "shard.tar").open("w+b") as tar, HashBehind(tar) as behind:
            _copy(Store(self.pool), shards, mine, tar, behind)
            sha256 = behind.digest()
        table = {
            "key": mine.keys(),
            "uid": to_hex(mine.uids),
            "source": pa.array(np.array(mine.names, object)[mine.shard], pa.string()).dictionary_encode(),
        }
        pq.write_table(pa.table(table), attempt / "shard.parquet", compression="zstd")
        stats = {"count": len(mine.uids), "successes": len(mine.uids)}
        (attempt / "stats.json").write_text(json.dumps(stats))
        names = {".tar": "shard.tar", ".parquet": "shard.parquet", "_stats.json": "stats.json"}
        files = {f"shards/{file_name(subset)}/{number:08d}{suffix}": attempt / name for suffix, name in names.items()}
        counts = {"samples": len(mine.uids), "bytes": (attempt / "shard.tar").stat().st_size}
        known = {f"shards/{file_name(subset)}/{number:08d}.tar": sha256}
        return {f"reshard/{file_name(subset)}/{number:08d}": Product(files=files, counts=counts, sha256=known)}


@dataclass(frozen=True)
class _Order:
    """Samples in the order of the output; all arrays have length n."""

    uids: NDArray[np.void]
    copy: NDArray[np.int64]
    """Which copy of the sample it is, from 0."""
    shard: NDArray[np.int32]
    """Number of the pool shard it lies in, an index into `names`."""
    row: NDArray[np.int64]
    """Its place among the samples of that shard."""
    names: list[str]
    """Of the pool's shards."""

    def part(self, start: int, stop: int) -> "_Order":
        """Return positions start ... stop - 1."""
        places = slice(start, stop)
        return _Order(self.uids[places], self.copy[places], self.shard[places], self.row[places], self.names)

    def keys(self) -> list[str]:
        """Return the keys the samples get."""
        return [f"{uid}-{copy}" for uid, copy in zip(to_hex(self.uids), self.copy, strict=True)]


@lru_cache(maxsize=2)
def _shards(pool_url: str, key: str) -> dict[str, PoolShard]:
    """Return the pool's shards by name, read anew when a product's key is another."""
    return {shard.name: shard for shard in pool_shards(Store(pool_url))}


@lru_cache(maxsize=2)
def _order(pool: str, run_dir: str, subset: str, seed: int, key: str) -> _Order:
    """Return the global order of a subset, remembered while the worker makes its shards.

    A sample has the place u in [0, 1) by hash of uid and seed; copy j of m has (j + u) / m. A sample that is kept once
    is thus anywhere with equal chance, and copies of one sample stand 1/m of the subset apart.

    Args:
        pool: the pool that was judged.
        run_dir: the run.
        subset: name of the subset.
        seed: another seed gives another order.
        key: the product's key, so that a subset that was made anew is read anew.
    """
    verdicts = read_verdicts(Store(run_dir), subset)
    names = [table.name for table in verdicts.tables]
    sizes = [table.stop - table.start for table in verdicts.tables]
    (kept,) = np.nonzero(verdicts.count)
    uids, count = verdicts.uids(Store(pool))[kept], verdicts.count[kept].astype(np.int64)
    codes = np.repeat(np.arange(len(names), dtype=np.int32), sizes)[kept]
    row = kept - np.array([table.start for table in verdicts.tables], np.int64)[codes]
    source = np.repeat(np.arange(len(uids)), count)
    copy = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
    copies = count[source].astype(np.uint64)
    # (j + u) / m in 64-bit fractions: j * (2^64 // m) + hash // m, which stays below 2^64
    place = copy.astype(np.uint64) * (np.uint64(2**64 - 1) // copies) + hash_uids(uids, seed)[source] // copies
    order = np.lexsort((copy, uids["f1"][source], uids["f0"][source], place))
    order = order[_apart(source[order])]
    rows = source[order]
    return _Order(uids[rows], copy[order], codes[rows], row[rows], names)


def _apart(identity: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return an order in which equal identities are no neighbours, changing places where they are.

    Copies stand far apart as it is; only in subsets of a few samples do some meet. Where one sample is more than half
    of the subset, neighbours remain.
    """
    order = np.arange(len(identity))
    for late in np.flatnonzero(identity[1:] == identity[:-1]) + 1:
        now = np.concatenate([[-1], identity[order], [-1]])  # now[i + 1] is at place i, none are beyond the ends
        if now[late] != now[late + 1]:
            continue  # an earlier change has parted them
        before, here, after = now[:-2], now[1:-1], now[2:]
        mine = here[late]
        fits = (here != mine) & (before != mine) & (after != mine) & (here != before[late]) & (here != after[late])
        if len(places := np.flatnonzero(fits)):
            other = places[np.argmin(np.abs(places - late))]
            order[[late, other]] = order[[other, late]]
    return order


@dataclass(frozen=True)
class _Source:
    """Where the members of a shard's samples lie in its tar, small, for it is kept in memory: n samples, m members."""

    first: NDArray[np.int32]
    """(n + 1,) members first[i] ... first[i + 1] - 1 are those of sample i."""
    suffix: NDArray[np.uint8]
    """(m,) index into `suffixes`."""
    suffixes: list[str]
    block: NDArray[np.uint32]
    """(m,) number of the block of 512 bytes with which the content begins."""
    size: NDArray[np.int64] | NDArray[np.uint32]
    """(m,) bytes of content."""


@cache
def _source(pool_url: str, shard: PoolShard) -> _Source:
    """Index a tar of the pool, remembered while the worker makes the shards that draw from it: all of them do.

    Raises:
        UserError: the tar is damaged, or its samples are not those of its table.
    """
    pool = Store(pool_url)
    with pool.open(shard.tar) as file, sliceable(file) as archive:
        members = index_members(archive, shard.tar)
    number, first = len(members.keys), members.first()
    with pool.open(shard.table) as file:
        table = pq.read_table(file, columns=["key", "status"], filters=[("status", "==", "success")])
    if [str(key) for key in table["key"].to_pylist()] != [members.keys[i] for i in first]:
        raise UserError(
            f"{shard.tar!r} holds other samples than its table {shard.table!r}: download the shard again, or remove a "
            "table that `winnow index` made and run that again"
        )
    codes = {suffix: code for code, suffix in enumerate(sorted(set(members.suffixes)))}
    if len(codes) > 256:
        raise UserError(f"{shard.tar!r} holds members of {len(codes)} kinds; 256 are enough for any pool")
    return _Source(
        first=np.array([*first, number], np.int32),
        suffix=np.array([codes[suffix] for suffix in members.suffixes], np.uint8),
        suffixes=list(codes),
        block=(members.offset // BLOCK).astype(np.uint32),
        size=members.size.astype(np.uint32) if members.size.max(initial=0) < 2**32 else members.size,
    )


def _copy(pool: Store, shards: Mapping[str, PoolShard], order: _Order, tar: IO[bytes], behind: HashBehind) -> None:
    """Write samples into a tar in their order, while reading each source tar front to back.

    Every member's place in the output follows from the sizes of those before it, so samples can be written as the
    source tars give them. Of local sources the output is made window by window, each of which takes what it needs from
    every source, and is hashed while the next is copied; of remote ones in one go, so that each is fetched once.
    """
    codes = np.unique(order.shard).tolist()
    with ThreadPoolExecutor(INDEXERS, "index") as threads:
        sources = dict(
            zip(codes, threads.map(lambda code: _source(pool.url, shards[order.names[code]]), codes), strict=True)
        )
    taken = {}
    counts = np.zeros(len(order.row), np.int64)  # members of each sample
    for code, source in sources.items():
        (places,) = np.nonzero(order.shard == code)
        places = places[np.argsort(order.row[places], kind="stable")]
        taken[code], rows = places, order.row[places]
        counts[places] = source.first[rows + 1] - source.first[rows]
    first = np.cumsum(counts) - counts
    total = int(counts.sum())
    size, block = np.zeros(total, np.int64), np.zeros(total, np.int64)
    suffix = np.zeros(total, object)
    for code, source in sources.items():
        places = taken[code]
        here = _ranges(first[places], counts[places])
        there = _ranges(source.first[order.row[places]], counts[places])
        size[here], block[here] = source.size[there], source.block[there]
        suffix[here] = np.array(source.suffixes, object)[source.suffix[there]]
    keys = np.repeat(np.array(order.keys(), object), counts)
    headers = header_blocks([f"{key}.{end}".encode() for key, end in zip(keys, suffix, strict=True)], size)
    ends = np.cumsum(BLOCK + size + -size % BLOCK)
    starts = np.concatenate([[0], ends])[first].tolist()
    contents = list(zip(headers, (block * BLOCK).tolist(), (block * BLOCK + size).tolist(), strict=True))
    size_of_all = int(ends[-1]) if total else 0
    for begin, stop in _windows(len(counts), size_of_all, len(sources), pool.is_local):
        window: list[bytes] = [b""] * (stop - begin)
        for code, places in taken.items():
            inside = places[(places >= begin) & (places < stop)]
            if not len(inside):
                continue
            with pool.open(shards[order.names[code]].tar) as file, sliceable(file) as archive:
                for place, lead, number in zip(
                    inside.tolist(), first[inside].tolist(), counts[inside].tolist(), strict=True
                ):
                    parts = []
                    for header, at, end in contents[lead : lead + number]:
                        parts += [header, archive[at:end], PADDING[: (at - end) % BLOCK]]
                    if pool.is_local:
                        window[place - begin] = b"".join(parts)
                    else:
                        _write(tar.fileno(), b"".join(parts), starts[place])
        if pool.is_local:  # a few large writes: every small one between others costs a page twice
            for place in range(begin, stop, WRITTEN_TOGETHER):
                blobs = window[place - begin : place - begin + WRITTEN_TOGETHER]
                _write(tar.fileno(), b"".join(blobs), starts[place])
        behind.reach(starts[stop] if stop < len(starts) else size_of_all)
    tar.seek(size_of_all)
    ShardWriter(tar).close()
    tar.flush()
    behind.reach(tar.tell())


def _windows(num_samples: int, num_bytes: int, num_sources: int, local: bool) -> Iterator[tuple[int, int]]:
    """Yield the samples of each window, from begin to stop - 1: of local sources some MB, but many samples a source."""
    most = min(num_bytes // WINDOW_BYTES, num_samples // (WINDOW_SAMPLES * max(num_sources, 1))) if local else 1
    edges = np.linspace(0, num_samples, max(most, 1) + 1).astype(int).tolist()
    yield from pairwise(edges)


def _ranges(starts: NDArray[np.integer], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return start, start + 1, ... start + count - 1 of each pair, one after the other."""
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)


def _write(descriptor: int, data: bytes, position: int) -> None:
    """Write all of `data` at a position of a file; a nearly full disk takes less of it at a time."""
    while data:
        written = os.pwrite(descriptor, data, position)
        data, position = data[written:], position + written
