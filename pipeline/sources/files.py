"""Metadata from files in the column conventions of LAION and DataComp: tables of any format, lists of URLs."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, PrivateAttr

from pipeline.pools.tabular import FORMATS, Found, column_kinds, find_files, known_columns
from pipeline.pools.tabular import blocks as read_blocks
from pipeline.pools.textual import Layout
from pipeline.pools.widen import widest
from pipeline.source import Source
from winnow.account import Account
from winnow.component import digest
from winnow.errors import UserError

__all__ = ["Files"]

NOT_METADATA = ("key",)
"""What other programs call a sample by; it tells nothing about a picture on the web and is carried along as it is."""
SUFFIXES = (*FORMATS, ".txt")


class Files(Source):
    """Read a file, a folder or a glob, local or any fsspec URL, block by block.

    A column that several files or blocks hold in several types gets the narrowest that holds all values unchanged.
    """

    path: str
    """File, folder or glob: "laion/*.parquet", "s3://bucket/metadata"."""
    columns: Mapping[str, str] = {}
    """Our name -> the name in the files, where the usual candidates do not fit: {url: image, text: alt}."""
    only: list[str] | None = None
    """The columns of the files to carry along beside url, text and what else Winnow knows; all if None."""
    types: Mapping[str, Literal["string", "int64", "float64", "bool"]] = {}
    """Column of the files -> its type, where what the values look like misleads: {phash: string}."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Between the columns of text files; a comma in csv and a tab in tsv if None."""
    quote: str | None = Field(default=None, max_length=1)
    """Around values that hold delimiters; a quotation mark in csv and nothing in tsv if None, "" for nothing."""
    max_bad_rows: int = Field(default=1000, ge=0)
    """Rows that cannot be read and are left out, counted, before the list is refused."""

    _unread: Account = PrivateAttr(default_factory=Account)

    @classmethod
    def tiny(cls) -> "Files":
        """Return a source of one file, which need not exist before it is read."""
        return cls(path="metadata.parquet")

    def fingerprint(self) -> str:
        """Return a hash of the fields and of every file's name, size and version."""
        found = find_files(self.path, "source.path", SUFFIXES)
        return digest(self, list(found.paths), found.states())

    def unread(self) -> Account:
        """Return the rows that could not be read, and what was done to columns."""
        return self._unread

    def tables(self) -> Iterator[pa.Table]:
        """Yield one table per row group or block, with our names for the columns we know, all of one schema.

        Raises:
            UserError: more rows cannot be read than `max_bad_rows`.
        """
        self._unread = Account()
        found = find_files(self.path, "source.path", SUFFIXES)
        texts = frozenset(name.lower() for name in self.columns.values())
        layout = Layout(self.delimiter, self.quote, self.types, texts)
        kinds, names = {}, {}
        for path in found.paths:
            kinds[path] = column_kinds(found, path, layout) | dict.fromkeys(_partitions(path), pa.string())
            names[path] = self._names(list(kinds[path]), found.where(path))
        for name in {*self.types, *(self.only or ())} - {name for given in kinds.values() for name in given}:
            raise UserError(f"`source.types` and `source.only` name columns of the files, and none has {name!r}")
        wide: dict[str, pa.DataType] = {}
        for path in found.paths:
            for theirs, ours in names[path].items():
                kind = kinds[path][theirs]
                if ours in wide and wide[ours] != kind and not pa.types.is_null(wide[ours]):
                    self._unread.note(
                        f"column {ours!r} is {widest([wide[ours], kind])}: files have {wide[ours]}, {kind}"
                    )
                wide[ours] = widest([wide.get(ours, pa.null()), kind])
        # a column without any value has no type of its own
        wide = {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in wide.items()}
        for path in found.paths:
            yield from self._file(found, path, layout, names[path], wide)

    def _file(
        self, found: Found, path: str, layout: Layout, names: Mapping[str, str], wide: Mapping[str, pa.DataType]
    ) -> Iterator[pa.Table]:
        """Yield the tables of one file with all columns of all files."""
        kinds = {theirs: wide[ours] for theirs, ours in names.items()}
        for table in read_blocks(found, path, layout, kinds, self._unread):
            self._check_unread()
            columns: dict[str, Any] = {
                ours: table[theirs] for theirs, ours in names.items() if theirs in table.column_names
            }
            for name, value in _partitions(path).items():
                if name in names and name not in table.column_names:
                    columns[names[name]] = pa.array([value] * table.num_rows, pa.string())
            yield pa.table(
                {name: columns[name] if name in columns else pa.nulls(table.num_rows, wide[name]) for name in wide}
            )

        self._check_unread()

    def _check_unread(self) -> None:
        """Refuse a list of which too many rows cannot be read."""
        if (bad := self._unread.read) > self.max_bad_rows:  # it reads no others
            raise UserError(
                f"{bad} rows of the source cannot be read, more than `source.max_bad_rows` ({self.max_bad_rows}): "
                + "; ".join(self._unread.lines())
            )

    def _names(self, given: list[str], path: str) -> dict[str, str]:
        """Return the name in the file -> ours, of all columns that are wanted."""
        ours: dict[str, str] = {}
        for name, theirs in self.columns.items():
            if theirs not in given:
                raise UserError(_missing(f"column {theirs!r} (from source.columns)", path, given))
            ours[theirs] = name
        for name, found in known_columns(given).items():
            if name not in self.columns and name not in NOT_METADATA:
                ours.setdefault(found, name)
        if missing := {"url", "text"} - set(ours.values()):
            raise UserError(_missing(f"column for `{min(missing)}`", path, given))
        for theirs, name in ours.items():
            if theirs != name:
                self._unread.note(f"column {theirs!r} is `{name}`")
        # what has one of our names without being that column gets another ("text" where `alt` is the text)
        taken = set(ours.values())
        for name in given:
            if name in ours or (self.only is not None and name not in self.only):
                continue
            new = name
            while new in taken:
                new = f"source_{new}"
            if new != name:
                self._unread.note(f"column {name!r} is carried along as `{new}`")
            ours[name] = new
            taken.add(new)
        return {name: ours[name] for name in given if name in ours}


def _partitions(path: str) -> dict[str, str]:
    """Return the columns that the folders of a path stand for, as Hive writes them: "lang=en" is a column `lang`."""
    pairs = (folder.split("=", 1) for folder in path.split("/")[:-1] if folder.count("=") == 1)
    return {name: value for name, value in pairs if name.isidentifier()}


def _missing(what: str, path: str, names: list[str]) -> str:
    """Say which column is missing and how to name it."""
    return (
        f"no {what} in {path!r}, which has {', '.join(names)}; "
        "name it in the config: source.columns: {url: ..., text: ...}"
    )
