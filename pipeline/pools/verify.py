"""Reconcile a pool with itself: journal, tars, tables, statistics, columns and hashes; every mismatch is named."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from filters.subset import argsort_uids
from winnow.errors import UserError
from winnow.images import ImageError, decode_image
from winnow.journal import Journal, Row
from winnow.pool import PoolTable, read_columns
from winnow.shards import Entry, Located, locate_samples
from winnow.storage import Store
from winnow.tar import AGAIN
from winnow.uid import UID, from_hex, own_uid, to_hex

__all__ = ["Finding", "Verification", "verify"]

Item = TypeVar("Item")
Result = TypeVar("Result")
UNREADABLE = (OSError, ValueError, KeyError, pa.ArrowException)
WORKERS = 4
COMMON = re.compile(r"^(journal|quarantine|progress|_attempts|_tmp)/|^_lock$|^_lease\.json")
"""What lies in a pool without being part of it."""


@dataclass(frozen=True)
class Finding:
    """One mismatch."""

    where: str
    """The file or what else it is about, relative to the pool."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Verification:
    """How much was looked at; `verify` fills it."""

    files: int = 0
    """Files whose size, and unless `quick` whose sha256, was compared with the journal."""
    shards: int = 0
    samples: int = 0
    column_files: int = 0
    findings: int = 0


@dataclass(frozen=True)
class _Shard:
    """The parts of a shard that are there, by ending."""

    name: str
    stem: str
    parts: frozenset[str]
    recorded: frozenset[str]
    """Endings of those that the journal has: `_files` tells if one of them is missing."""


@dataclass
class _Contents:
    """What a shard's files say."""

    findings: list[Finding] = field(default_factory=list)
    uids: NDArray[np.void] | None = None
    """(n,) of its samples as the table has them, None where it cannot be read."""
    tried: NDArray[np.void] | None = None
    """(m,) of all rows of the table."""
    copies: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """(n,) which samples are copies by their key, `<uid>-<j>`: a reshard with repeats has a uid several times."""


def verify(pool: Store, done: Verification, *, quick: bool = False) -> Iterator[Finding]:
    """Yield every mismatch in a pool, as it is found; nothing is changed.

    A pool without a journal (img2dataset's) has no hashes of its files: there the pictures are decoded instead.

    Args:
        pool: its folder.
        done: counts what was looked at.
        quick: neither hash files nor decode pictures.

    Raises:
        UserError: there is nothing of a pool in the folder.
    """
    for finding in _verify(pool, done, quick):
        done.findings += 1
        yield finding


def _verify(pool: Store, done: Verification, quick: bool) -> Iterator[Finding]:
    """Yield the mismatches of each check."""
    rows, broken = _journal(pool)
    shards = _shards(pool, rows)
    if not shards and not rows and not broken and not pool.list("metadata", ".parquet"):
        raise UserError(f"nothing to verify in {pool.url!r}: no journal, and no shards in shards/ or at the top")
    yield from broken
    yield from _files(pool, rows, done, quick)
    with_stats = any("_stats.json" in shard.parts | shard.recorded for shard in shards)
    if shards and with_stats:  # else nothing is downloaded yet, or the tars are somebody's choice
        yield from _gaps(pool, shards, rows)
    read: dict[str, _Contents] = {}
    has_journal = any(product.startswith("download/") for product in rows)
    decode = not quick and not has_journal
    for shard, contents in _each(shards, lambda shard: _shard(pool, shard, decode=decode, with_stats=with_stats)):
        yield from contents.findings
        read[shard.name] = contents
        done.shards += 1
        done.samples += len(contents.uids) if contents.uids is not None else 0
    yield from _metadata(pool, shards, read)
    yield from _duplicates({name: c.uids[~c.copies] for name, c in read.items() if c.uids is not None})
    yield from _columns(pool, read, done)


def _journal(pool: Store) -> tuple[dict[str, Row], list[Finding]]:
    """Return the rows that can be read, and which cannot."""
    journal = Journal(pool)
    said = "this row of the journal cannot be read"
    return journal.rows, [Finding(name, f"{said} ({why})") for name, why in sorted(journal.broken.items())]


def _files(pool: Store, rows: dict[str, Row], done: Verification, quick: bool) -> Iterator[Finding]:
    """Compare the files of every journal row, and find files that no row vouches for."""

    def check(item: tuple[str, tuple[int, str], str]) -> Finding | None:
        name, (size, sha256), product = item
        found = pool.size(name)
        if found is None:
            return Finding(name, f"missing; the journal has it as part of {product}")
        if found != size:
            return Finding(name, f"{found} bytes, the journal has {size}")
        if not quick and (digest := _sha256(pool, name)) != sha256:
            return Finding(name, f"sha256 {digest[:16]}…, the journal has {sha256[:16]}…")
        return None

    wanted = [(name, state, row.product) for row in rows.values() for name, state in sorted(row.files.items())]
    for _, finding in _each(sorted(wanted), check):
        done.files += 1
        if finding is not None:
            yield finding
    known = {name for name, _, _ in wanted}
    folders = {_top(name) for name in known}  # what others wrote into a folder of their own is in no journal
    for name in sorted(_everything(pool) - known) if known else ():
        if _top(name) in folders and not COMMON.match(name):
            yield Finding(name, "no row of the journal vouches for it")


def _shards(pool: Store, rows: dict[str, Row]) -> list[_Shard]:
    """Return all shards of which there is any part, on disk or in the journal, by name."""
    folder = "shards" if pool.list("shards") or any(p.startswith("download/") for p in rows) else ""
    ends = (".tar", ".parquet", "_stats.json")
    parts: dict[str, set[str]] = {}
    for name in pool.list(folder):
        for end in ends:
            if name.endswith(end) and (folder or name.removesuffix(end).isdigit()):
                parts.setdefault(name.removesuffix(end), set()).add(end)
    recorded: dict[str, set[str]] = {}
    for name in (name for product, row in rows.items() if product.startswith("download/") for name in row.files):
        for end in ends:
            if name.endswith(end):
                recorded.setdefault(name.removesuffix(end), set()).add(end)
    return [
        _Shard(stem.rpartition("/")[2], stem, frozenset(parts.get(stem, ())), frozenset(recorded.get(stem, ())))
        for stem in sorted(parts.keys() | recorded.keys())
    ]


def _gaps(pool: Store, shards: list[_Shard], rows: dict[str, Row]) -> Iterator[Finding]:
    """Find numbers without a shard: up to the last shard, or the last metadata file where there are any."""
    have = {shard.name for shard in shards}
    if "ingest/metadata" in rows:
        names = [name for name in rows["ingest/metadata"].files if name.startswith("metadata/")]
    else:
        names = pool.list("metadata", ".parquet")
    names += [name for product, row in rows.items() if product.startswith("retry/") for name in row.files]
    numbers = {stem for stem in (name.rpartition("/")[2].removesuffix(".parquet") for name in names) if stem.isdigit()}
    if not numbers and have and all(name.isdigit() for name in have):
        width = len(max(have, key=len))
        numbers = {f"{number:0{width}d}" for number in range(max(map(int, have)) + 1)}
    for number in sorted(numbers - have):
        yield Finding(f"shard {number}", "a gap in the numbering: nothing is left of this shard")


def _shard(pool: Store, shard: _Shard, *, decode: bool, with_stats: bool) -> _Contents:
    """Compare a shard's tar, table and statistics; tars that were indexed have none of the last."""
    contents = _Contents()
    add = contents.findings.append
    for end in (".tar", ".parquet", "_stats.json"):
        if end not in shard.parts | shard.recorded and (end != "_stats.json" or with_stats):
            what = "missing: the shard is not finished" if end == "_stats.json" else "missing"
            add(Finding(f"{shard.stem}{end}", what))
    keys: list[str] | None = None
    if ".parquet" in shard.parts:
        keys = _table(pool, shard, contents)
    if ".tar" in shard.parts:
        _tar(pool, shard, contents, keys, decode)
    if "_stats.json" in shard.parts and contents.tried is not None and contents.uids is not None:
        name = f"{shard.stem}_stats.json"
        try:
            stats = json.loads(pool.read(name))
            for key, number in (("count", len(contents.tried)), ("successes", len(contents.uids))):
                if key in stats and stats[key] != number:
                    add(Finding(name, f"{key} {stats[key]}, the table has {number}"))
        except (*UNREADABLE, TypeError) as error:
            add(Finding(name, f"cannot be read ({_short(error)})"))
    return contents


def _table(pool: Store, shard: _Shard, contents: _Contents) -> list[str] | None:
    """Read a shard's table into `contents` and return the keys of its samples."""
    name = f"{shard.stem}.parquet"
    try:
        table, tried = read_columns(pool, PoolTable(shard.name, name, ""), ["key", "status"], failed=True)
    except UNREADABLE as error:
        contents.findings.append(Finding(name, f"cannot be read ({_short(error)})"))
        return None
    good = np.array([status == "success" for status in table["status"].to_pylist()], bool)
    contents.tried, contents.uids = tried, tried[good]
    keys = [str(key) for key, fine in zip(table["key"].to_pylist(), good, strict=True) if fine]
    of_uid = zip(keys, to_hex(contents.uids), strict=True)
    contents.copies = np.array([re.fullmatch(rf"{uid}-\d+", key) is not None for key, uid in of_uid], bool)
    return keys


def _tar(pool: Store, shard: _Shard, contents: _Contents, keys: list[str] | None, decode: bool) -> None:
    """Compare the members of a tar with the rows of its table."""
    name, add = f"{shard.stem}.tar", contents.findings.append
    with pool.open(name) as file:
        try:
            samples, left_out = locate_samples(file, name)
        except UserError as error:
            add(Finding(name, str(error).removeprefix(f"{name}: ")))
            return
        if keys is not None:
            if len(samples) != len(keys):
                add(Finding(name, f"{len(samples)} samples, its table has {len(keys)}"))
            elif [sample.key for sample in samples] != keys:
                row = next(row for row, sample in enumerate(samples) if sample.key != keys[row])
                add(Finding(name, f"sample {row} is {samples[row].key!r}, its table has {keys[row]!r}"))
        for member, why in left_out:
            if why == AGAIN:
                add(Finding(name, f"two members have one name, {member!r}"))
        aligned = contents.uids is not None and keys == [sample.key for sample in samples]
        uids = to_hex(contents.uids) if aligned and contents.uids is not None else []
        for sample, uid in zip(samples, uids or [""] * len(samples), strict=True):
            for what in _sample(file, sample, uid, decode):
                add(Finding(f"{name} {sample.key}", what))


def _sample(file: IO[bytes], sample: Located, uid: str, decode: bool) -> Iterator[str]:
    """Yield what is wrong with one sample of a tar."""

    def content(entry: Entry) -> bytes:
        file.seek(entry.offset)
        return file.read(entry.size)

    if sample.image is None:
        yield "it has no picture"
    elif decode:
        try:
            decode_image(content(sample.image))
        except ImageError as error:
            yield f"its picture: {error}"
    if "json" in sample.members:
        try:
            mine = own_uid(json.loads(content(sample.members["json"])).get("uid"))
        except (ValueError, AttributeError):
            yield "its json cannot be read"
        else:  # a table may have uids that the sidecars lack
            if uid and mine and mine != uid:
                yield f"uid {mine} in its json, {uid} in the table"


def _metadata(pool: Store, shards: list[_Shard], read: dict[str, _Contents]) -> Iterator[Finding]:
    """Compare what was tried with what was to be tried."""
    for shard in shards:
        tried = read[shard.name].tried
        lists = [f"{folder}/{shard.name}.parquet" for folder in ("metadata", "retries")]
        name = next((name for name in lists if pool.exists(name)), None)
        if tried is None or name is None:
            continue
        try:
            with pool.open(name) as file:
                asked = from_hex(pq.read_table(file, columns=["uid"])["uid"])
        except UNREADABLE as error:
            yield Finding(name, f"cannot be read ({_short(error)})")
            continue
        if len(asked) != len(tried):
            yield Finding(f"{shard.stem}.parquet", f"{len(tried)} rows, {name} has {len(asked)}")
        elif (asked != tried).any():
            row = int(np.flatnonzero(asked != tried)[0])
            mine, theirs = to_hex(tried[[row]])[0], to_hex(asked[[row]])[0]
            yield Finding(f"{shard.stem}.parquet", f"row {row} is {mine}, {name} has {theirs}")


def _duplicates(uids: dict[str, NDArray[np.void]]) -> Iterator[Finding]:
    """Name every uid that more than one sample has, with the shards."""
    together = np.concatenate([np.empty(0, UID), *uids.values()])
    shard = np.repeat(np.arange(len(uids)), [len(part) for part in uids.values()])
    order = argsort_uids(together)
    together, shard = together[order], shard[order]
    same = np.append(together[1:] == together[:-1], False)
    names = list(uids)
    for first in np.flatnonzero(same & ~np.append(False, same[:-1])):
        last = first + 1
        while last < len(same) and same[last]:
            last += 1
        where = [names[number] for number in shard[first : last + 1]]
        yield Finding(
            f"uid {to_hex(together[[first]])[0]}", f"{len(where)} samples have it, in shards {', '.join(where)}"
        )


def _columns(pool: Store, read: dict[str, _Contents], done: Verification) -> Iterator[Finding]:
    """Compare the rows of every column file with the samples of its shard."""
    names = sorted(name for name in _everything(pool, "columns") if name.endswith(".parquet"))
    scorers: dict[str, set[str]] = {}
    for name in names:
        _, scorer, file = name.split("/", 2)
        scorers.setdefault(scorer, set()).add(file.removesuffix(".parquet"))

    def check(name: str) -> Finding | None:
        shard = name.rpartition("/")[2].removesuffix(".parquet")
        try:
            with pool.open(name) as file:
                mine = from_hex(pq.read_table(file, columns=["uid"])["uid"])
        except UNREADABLE as error:
            return Finding(name, f"cannot be read ({_short(error)})")
        if read and shard not in read:
            return Finding(name, "the pool has no such shard")
        uids = read[shard].uids if read else None
        if uids is None:
            return None
        if len(mine) != len(uids):
            return Finding(name, f"{len(mine)} rows, the shard has {len(uids)} samples")
        if (mine != uids).any():
            row = int(np.flatnonzero(mine != uids)[0])
            return Finding(name, f"row {row} is {to_hex(mine[[row]])[0]}, in the shard it is {to_hex(uids[[row]])[0]}")
        return None

    for _, finding in _each(names, check):
        done.column_files += 1
        if finding is not None:
            yield finding
    for scorer, mine in sorted(scorers.items()):
        for shard in sorted(set(read) - mine):
            yield Finding(f"columns/{scorer}/{shard}.parquet", "missing: other shards have this scorer's columns")


def _everything(pool: Store, folder: str = "") -> set[str]:
    """Return the names of all files in a folder of the pool and below."""
    if not pool.exists(folder):
        return set()
    start = len(pool.path(folder).rstrip("/")) + 1
    top = f"{folder}/" if folder else ""
    return {top + str(path)[start:] for path in pool.fs.find(pool.path(folder))}


def _top(name: str) -> str:
    """Return the folder of the pool that a file is in, "" for none."""
    return name.split("/")[0] if "/" in name else ""


def _sha256(pool: Store, name: str) -> str:
    """Return the hex digest of a file's content."""
    with pool.open(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _each(items: Iterable[Item], work: Callable[[Item], Result]) -> Iterator[tuple[Item, Result]]:
    """Yield (item, result) in order, some at a time in threads: files are waited for, hashing frees the interpreter."""
    waiting = list(items)
    with ThreadPoolExecutor(WORKERS) as workers:
        for start in range(0, len(waiting), 8 * WORKERS):
            part = waiting[start : start + 8 * WORKERS]
            yield from zip(part, workers.map(work, part), strict=True)


def _short(error: BaseException) -> str:
    """Return the first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
