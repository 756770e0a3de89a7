"""Metadata from files: parquet, csv, tsv or jsonl (gzip too), in the column conventions of LAION and DataComp."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from pipeline.pools.tabular import blocks as read_blocks
from pipeline.pools.tabular import find_files, known_columns
from pipeline.source import Source
from winnow.component import digest
from winnow.errors import UserError

__all__ = ["Files"]

NOT_METADATA = ("key",)
"""What other programs call a sample by; it tells nothing about a picture on the web and is carried along as it is."""


class Files(Source):
    """Read a file, a folder or a glob, local or any fsspec URL, block by block."""

    path: str
    """File, folder or glob: "laion/*.parquet", "s3://bucket/metadata"."""
    columns: Mapping[str, str] = {}
    """Our name -> the name in the files, where the usual candidates do not fit: {url: image, text: alt}."""

    @classmethod
    def tiny(cls) -> "Files":
        """Return a source of one file, which need not exist before it is read."""
        return cls(path="metadata.parquet")

    def fingerprint(self) -> str:
        """Return a hash of the fields and of every file's name, size and version."""
        found = find_files(self.path, "source.path")
        return digest(self, list(found.paths), found.states())

    def tables(self) -> Iterator[pa.Table]:
        """Yield one table per row group or block, with our names for the columns we know."""
        found = find_files(self.path, "source.path")
        for path in found.paths:
            with found.open(path) as file:
                for table in read_blocks(file, found.where(path), self.columns.values()):
                    yield self._rename(table, found.where(path))

    def _rename(self, table: pa.Table, path: str) -> pa.Table:
        """Give known columns our names; leave the others as they are."""
        ours: dict[str, str] = {}
        for name, given in self.columns.items():
            if given not in table.column_names:
                raise UserError(_missing(f"column {given!r} (from source.columns)", path, table))
            ours[given] = name
        for name, found in known_columns(table.column_names).items():
            if name not in self.columns and name not in NOT_METADATA:
                ours.setdefault(found, name)
        if missing := {"url", "text"} - set(ours.values()):
            raise UserError(_missing(f"column for `{min(missing)}`", path, table))
        # What already has one of our names without being that column gives way ("text" when `alt` is the text).
        taken = set(ours.values())
        kept = [name for name in table.column_names if name in ours or name not in taken]
        return table.select(kept).rename_columns([ours.get(name, name) for name in kept])


def _missing(what: str, path: str, table: pa.Table) -> str:
    """Say which column is missing and how to name it."""
    return (
        f"no {what} in {path!r}, which has {', '.join(table.column_names)}; "
        "name it in the config: source.columns: {url: ..., text: ...}"
    )
