"""Metadata from files: parquet, csv, tsv or jsonl (gzip too), in the column conventions of LAION and DataComp.

Source: column names of LAION-400M/5B (URL, TEXT, WIDTH, HEIGHT, similarity) and of DataComp (arXiv 2304.14108).
"""

from collections.abc import Iterator, Mapping
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipeline.source import Source
from winnow.component import digest
from winnow.errors import UserError

__all__ = ["Files"]

CANDIDATES = {
    "uid": ("uid",),
    "url": ("url", "image_url", "img_url", "link"),
    "text": ("text", "caption", "top_caption", "alt", "alt_text", "title"),
    "original_width": ("original_width", "width"),
    "original_height": ("original_height", "height"),
    "sha256": ("sha256",),
}
"""Our name -> the names it goes by, in lower case, best first."""

FORMATS = (".parquet", ".csv", ".tsv", ".jsonl")
STRINGS = ("uid", "url", "text", "sha256")


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
        fs, paths = self._files()
        if isinstance(fs, LocalFileSystem):
            states = [f"{(info := fs.info(path))['size']}-{info['mtime']}" for path in paths]
        else:
            states = [str(fs.ukey(path)) for path in paths]
        return digest(self, paths, states)

    def tables(self) -> Iterator[pa.Table]:
        """Yield one table per row group or block, with our names for the columns we know."""
        fs, paths = self._files()
        for path in paths:
            with fs.open(path, "rb", compression="infer") as file:
                try:
                    for table in _blocks(file, path, set(self.columns.values())):
                        yield self._rename(table, path)
                except pa.ArrowInvalid as error:
                    raise UserError(f"cannot read {path!r}: {error}") from error

    def _files(self) -> tuple[Any, list[str]]:
        """Return the file system and the sorted paths.

        Raises:
            UserError: nothing there that can be read.
        """
        fs, path = fsspec.core.url_to_fs(self.path)
        if any(sign in path for sign in "*?["):
            found = fs.glob(path)
        elif fs.isdir(path):
            found = fs.find(path)
        else:
            found = [path] if fs.exists(path) else []
        paths = sorted(str(name) for name in found if str(name).removesuffix(".gz").endswith(FORMATS))
        if not paths:
            raise UserError(
                f"source.path: nothing to read at {self.path!r}; "
                f"give a file, folder or glob of {', '.join(FORMATS)} (.gz too)"
            )
        return fs, paths

    def _rename(self, table: pa.Table, path: str) -> pa.Table:
        """Give known columns our names; leave the others as they are."""
        by_lower: dict[str, str] = {}
        for name in table.column_names:
            by_lower.setdefault(name.lower(), name)
        ours: dict[str, str] = {}
        for name, candidates in CANDIDATES.items():
            if (given := self.columns.get(name)) is not None:
                if given not in table.column_names:
                    raise UserError(_missing(f"column {given!r} (from source.columns)", path, table))
                ours[given] = name
            elif found := next((by_lower[c] for c in candidates if c in by_lower), None):
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


def _blocks(file: IO[bytes], path: str, given: set[str]) -> Iterator[pa.Table]:
    """Yield the tables of one open file, holding one block in memory at a time."""
    kind = path.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        for batch in pq.ParquetFile(file).iter_batches(batch_size=65536):
            yield pa.Table.from_batches([batch])
    elif kind == "jsonl":
        yield from (pa.Table.from_batches([batch]) for batch in pyarrow.json.open_json(file))
    else:
        # A caption of digits must stay a string, whatever the first block looks like.
        names = {name for ours in STRINGS for name in CANDIDATES[ours]} | given
        spellings = {spelling for name in names for spelling in (name, name.upper(), name.title())}
        yield from (
            pa.Table.from_batches([batch])
            for batch in pyarrow.csv.open_csv(
                file,
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter="\t" if kind == "tsv" else ",", newlines_in_values=True
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={name: pa.string() for name in spellings}, strings_can_be_null=True
                ),
            )
        )
