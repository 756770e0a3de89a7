"""What is finished: one small row file per product, gathered into a snapshot as they become many."""

import io
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from winnow.account import Account
from winnow.errors import StorageError
from winnow.storage import Sizes, Store, is_inside

__all__ = ["Journal", "Row"]

LOOSE = 1024
"""Row files that may lie about before they are gathered; beyond that a quarter of all rows may."""
TRIES = 50
NAME_BYTES = 255
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One finished product: what it was made from, what it is."""

    product: str
    """Its name, "score/clip/00003"."""
    key: str
    """Hash of the config and of the inputs it was made from; a product whose key has changed is stale."""
    files: dict[str, tuple[int, str]]
    """Final name -> (size in bytes, sha256)."""
    counts: dict[str, int] = field(default_factory=dict)
    """What the stage counted: samples, failures by kind."""
    account: dict[str, Any] = field(default_factory=dict)
    """`Account.data` of the reader behind it, {} where there is none."""
    seconds: float = 0.0
    """Wall-clock time of the unit that made it."""

    def fingerprint(self) -> str:
        """Return the content hash that downstream keys are made of: equal bytes give equal fingerprints."""
        return "-".join(digest[:16] for _, digest in sorted(self.files.values()))


class Journal:
    """The rows of a store, in `journal/`. Nothing counts unless it is there, and nothing half-written does.

    `journal/<product>.json` is a row, or the note that a row of the snapshot is forgotten. Row files are atomic
    everywhere, and appendable where appends do not exist. They are not flushed to disk one by one: what a power cut
    tears cannot be read as a row, and is made again.

    `journal/snapshots/<number>.jsonl` holds all rows at a time; the highest number counts, row files outrank it. It is
    flushed and has its name before the row files in it are removed, so at every moment each row is in at least one
    of them. A reader lists row files first: what it misses there is in the snapshot that it lists afterwards.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows: dict[str, Row] = {}
        self.broken: dict[str, str] = {}
        """Row files that cannot be read -> why. Their products are not finished."""
        self._loose: set[str] = set()
        """Names of the files beside the snapshot."""
        self._gathered: set[str] = set()
        """Products of the snapshot."""
        self._number = 0
        self._load()

    def done(self, product: str, key: str, sizes: Sizes | None = None) -> bool:
        """Tell whether `product` was made under `key` and its files still stand at their size.

        Args:
            product: its name.
            key: its present key.
            sizes: a listing to look sizes up in, where many products are asked about.
        """
        row = self.rows.get(product)
        if row is None or row.key != key:
            return False
        size_of = self.store.size if sizes is None else sizes.of
        return all(size_of(name) == size for name, (size, _) in row.files.items())

    def append(self, row: Row) -> None:
        """Record a finished product; its files must already stand under their final names."""
        name = _name(row.product)
        self.store.write(name, json.dumps(_data(row), indent=1).encode(), durable=False)
        self.rows[row.product] = row
        self._loose.add(name)
        if len(self._loose) > max(LOOSE, len(self.rows) // 4):
            self._gather()

    def forget(self, product: str) -> None:
        """Drop a row: before its files are replaced, and when the config no longer asks for the product."""
        if self.rows.pop(product, None) is None:
            return
        name = _name(product)
        if product in self._gathered:
            self.store.write(name, json.dumps({"product": product, "forgotten": True}).encode())
            self._loose.add(name)
        else:
            self.store.remove(name)
            self._loose.discard(name)

    def under(self, prefix: str) -> list[Row]:
        """Return the rows whose product starts with `prefix`, by name."""
        return [self.rows[name] for name in sorted(name for name in self.rows if name.startswith(prefix))]

    def tidy(self) -> None:
        """Gather the row files if they are many. For the only driver of the store."""
        if len(self._loose) > LOOSE:
            self._gather()

    def _gather(self) -> None:
        """Gather the row files; where that fails they are read one by one, as before."""
        with suppress(OSError, StorageError):
            self.compact()

    def compact(self) -> None:
        """Write a snapshot of all rows, then remove what it replaces. For the only driver of the store."""
        old = self.store.list("journal/snapshots", ".jsonl")
        self._number += 1
        self._gathered |= set(self.rows)  # even if the snapshot is not seen to arrive, it may have
        lines = (json.dumps(_data(row), separators=(",", ":")) for _, row in sorted(self.rows.items()))
        self.store.write(_snapshot(self._number), "".join(f"{line}\n" for line in lines).encode())
        for name in [*self._loose, *old]:
            self.store.remove(name)
        self._loose, self._gathered = set(), set(self.rows)

    def _load(self) -> None:
        """Read the row files, then the newest snapshot."""
        names = self.store.list("journal", ".json")
        with ThreadPoolExecutor(16) as pool:
            texts = list(pool.map(self._read, names))
        found: dict[str, dict[str, Any]] = {}
        for name, text in zip(names, texts, strict=True):
            if text is None:  # gathered since it was listed
                continue
            self._loose.add(name)
            try:
                data = json.loads(text)
                found[name] = {"row": None if data.get("forgotten") else _row(data)}
            except UNREADABLE as error:
                self.broken[name] = f"{type(error).__name__}: {error}"
        for line in io.BytesIO(self._newest()):
            try:
                row = _row(json.loads(line))
            except UNREADABLE as error:
                self.broken[_snapshot(self._number)] = f"{type(error).__name__}: {error}"
                continue
            self._gathered.add(row.product)
            if (name := _name(row.product)) not in found and name not in self.broken:
                self.rows[row.product] = row
        self.rows |= {entry["row"].product: entry["row"] for entry in found.values() if entry["row"] is not None}

    def _read(self, name: str) -> bytes | None:
        try:
            return self.store.read(name)
        except FileNotFoundError:
            return None

    def _newest(self) -> bytes:
        """Return the text of the newest snapshot; one that is replaced while it is looked for is no error."""
        names: list[str] = []
        for _ in range(TRIES):
            listed = self.store.list("journal/snapshots", ".jsonl")
            names = [name for name in listed if _SNAPSHOT.fullmatch(name)]
            if not names:
                # a listing is not atomic: it may miss both the snapshot that goes and the one that comes
                if self.store.exists("journal/snapshots"):
                    continue
                return b""
            self._number = int(names[-1].rpartition("/")[2].removesuffix(".jsonl"))
            if (text := self._read(names[-1])) is not None:
                return text
        if not names:  # the folder of a snapshot that never came
            return b""
        raise FileNotFoundError(
            f"the snapshots of {self.store.where('journal')} are replaced faster than they are read"
        )


_SNAPSHOT = re.compile(r"journal/snapshots/[0-9]{1,18}\.jsonl")


def _name(product: str) -> str:
    """Return the row file of a product."""
    return f"journal/{product.replace('/', '~')}.json"


def _snapshot(number: int) -> str:
    """Return the file of a snapshot."""
    return f"journal/snapshots/{number:08d}.jsonl"


def _data(row: Row) -> dict[str, Any]:
    """Return a row as JSON can have it; `dataclasses.asdict` would copy everything in it."""
    return {name: getattr(row, name) for name in Row.__slots__ if name != "account" or row.account}


def _row(data: Mapping[str, Any]) -> Row:
    """Rebuild a row from JSON, where tuples have become lists.

    Raises:
        ValueError or another of `UNREADABLE`: it is none, or names a file out of the store.
    """
    fields = dict(data)
    files = {name: (int(size), str(digest)) for name, (size, digest) in fields.pop("files").items()}
    row = Row(files=files, **fields)
    if not (isinstance(row.product, str) and isinstance(row.key, str) and isinstance(row.seconds, int | float)):
        raise TypeError("product and key of a row are text, its seconds a number")
    if not all(isinstance(count, int) for count in row.counts.values()):
        raise TypeError("what a row counts are whole numbers")
    if row.account:
        Account.of(row.account)
    if not all(is_inside(name) for name in (row.product, *files)):
        raise ValueError("a row names a file out of the store")
    if len(_name(row.product).encode()) > NAME_BYTES or any(
        len(part.encode()) > NAME_BYTES for name in files for part in name.split("/")
    ):
        raise ValueError("a row names a file that no file system can hold")
    return row
