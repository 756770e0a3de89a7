"""The attachment role: what another program found out about samples of the pool, joined by identity.

Nothing about order or sharding is shared with that program. Rows are told apart by uid, by url and caption, by the key
inside a shard, or by LAION's hash; each is brought to 128 bits, so that one join in NumPy serves all.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.pools.tabular import Found, find_files, known_columns
from winnow.component import Component, digest
from winnow.errors import UserError, unknown
from winnow.murmur import murmur64
from winnow.uid import UID, from_hex, make_uid

__all__ = ["IDENTITY", "Attachment", "By", "Piece", "identities"]

By = Literal["uid", "pair", "hash", "key"]
"""What tells the rows: the uid; url and caption; LAION's hash of these; the key inside a shard."""

IDENTITY: Mapping[str, tuple[str, ...]] = {"uid": ("uid",), "pair": ("url", "text"), "hash": ("hash",), "key": ("key",)}
"""Columns that each of these needs, best first."""


@dataclass(frozen=True)
class Piece:
    """Some rows of the other program's output."""

    ids: NDArray[np.void]
    """(n,) "u8,u8": what `identities` makes of each row."""
    load: Callable[[NDArray[np.intp]], pa.Table]
    """Row numbers, ascending -> their columns. No rows at all still tell the columns and their types."""
    where: str
    """The file, for errors."""


class Attachment(Component):
    """Columns in files of another program."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    """Endings of the files that tell the rows."""

    path: str
    """File, folder or glob, local or any fsspec URL."""
    columns: Mapping[str, str] | None = None
    """Our name -> the name there, for the columns wanted; all of them under their own names if not given."""
    by: By | None = None
    """What tells the rows; the first of uid, pair, hash and key that the files have columns for if not given."""

    @classmethod
    def tiny(cls) -> "Attachment":
        """Return an instance whose files need not exist before they are read."""
        return cls(path="scores")

    def files(self) -> Found:
        """Return the files that tell the rows.

        Raises:
            UserError: there are none.
        """
        return find_files(self.path, "attach.path", self.suffixes)

    def fingerprint(self) -> str:
        """Return a hash that changes when the columns would."""
        found = self.files()
        return digest(type(self).__name__, self, list(found.paths), found.states())

    def identity(self) -> By:
        """Return what tells the rows.

        Raises:
            UserError: the files have no column for it.
        """
        raise NotImplementedError

    def pieces(self) -> Iterator[Piece]:
        """Yield all rows, in pieces small enough for memory."""
        raise NotImplementedError

    def choose(self, names: list[str], where: str) -> dict[str, str]:
        """Return ours -> theirs of the columns that are wanted.

        Args:
            names: what the file has.
            where: the file.

        Raises:
            UserError: a wanted column is not there.
        """
        if self.columns is None:
            return {name: name for name in names}
        for theirs in self.columns.values():
            if theirs not in names:
                raise UserError(f"{where}: {unknown('column', theirs, names)}")
        return dict(self.columns)


def identify_by(by: By | None, names: list[str], where: str) -> By:
    """Return what tells the rows of a table with these columns.

    Raises:
        UserError: nothing does, or not what was asked for.
    """
    have = {*known_columns(names), *({"hash"} & set(names))}
    fits = [kind for kind, needs in IDENTITY.items() if have.issuperset(needs)]
    if by is not None and by not in fits:
        needs = " and ".join(IDENTITY[by])
        raise UserError(
            f"{where}: rows cannot be told by {by!r}, which needs {needs}; the columns are {', '.join(names)}"
        )
    if not fits:
        raise UserError(
            f"{where}: no column tells which sample a row belongs to (uid; url and text or caption; hash; key); "
            f"the columns are {', '.join(names)}"
        )
    return by or fits[0]  # type: ignore[return-value]


def identities(by: By, table: pa.Table) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
    """Return what the join compares for each row, and which rows can be told at all.

    Args:
        by: what tells the rows.
        table: columns under our names: uid; url and text; hash or, for it to be computed, url and text; key.

    Returns:
        (n,) dtype "u8,u8" and (n,) bool; the identity of a row that cannot be told is all zero.
    """
    ids = np.zeros(table.num_rows, UID)
    if by == "uid":
        texts = pc.replace_substring(pc.utf8_lower(table["uid"].cast(pa.string())), "-", "")
        known = pc.fill_null(pc.match_substring_regex(texts, "^[0-9a-f]{32}$"), False)
        told = known.to_numpy()
        ids[told] = from_hex(texts.filter(known))
        return ids, told
    if by == "hash" and "hash" in table.column_names:
        told = pc.is_valid(table["hash"]).to_numpy()
        ids["f1"] = pc.fill_null(table["hash"], 0).cast(pa.int64(), safe=False).to_numpy().view(np.uint64)
        return ids, told
    if by == "hash":
        ids["f1"] = murmur64([(url + text).encode() for url, text in _pairs(table)]).view(np.uint64)
        return ids, np.ones(len(ids), bool)
    if by == "pair":
        return from_hex(make_uid(url, text) for url, text in _pairs(table)), np.ones(len(ids), bool)
    keys = table["key"].cast(pa.string()).to_pylist()
    hashes = (hashlib.sha256((key or "").encode()).hexdigest()[:32] for key in keys)
    return from_hex(hashes), np.array([key is not None for key in keys], bool)


def _pairs(table: pa.Table) -> Iterator[tuple[str, str]]:
    """Yield url and caption of every row, "" for what is missing."""
    for url, text in zip(table["url"].to_pylist(), table["text"].to_pylist(), strict=True):
        yield "" if url is None else str(url), "" if text is None else str(text)
