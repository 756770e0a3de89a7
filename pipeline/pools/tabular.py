"""Tables that others wrote: find the files, know the columns by their usual names, read block by block.

Source: column names of LAION-400M/5B (URL, TEXT, WIDTH, HEIGHT, similarity), of DataComp (arXiv 2304.14108), of
img2dataset (url, caption, key) and of clip-retrieval (image_path, caption).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipeline.pools.textual import KINDS, Layout, blocks_of, kinds_of
from pipeline.pools.widen import exact
from winnow.account import Account
from winnow.errors import UserError
from winnow.patience import reach
from winnow.tables import check_names, readable

__all__ = ["CANDIDATES", "FORMATS", "Found", "blocks", "column_kinds", "find_files", "known_columns"]

CANDIDATES = {
    "uid": ("uid",),
    "url": ("url", "image_url", "img_url", "link"),
    "text": ("text", "caption", "top_caption", "alt", "alt_text", "title"),
    "original_width": ("original_width", "width"),
    "original_height": ("original_height", "height"),
    "sha256": ("sha256",),
    "key": ("key", "__key__", "image_path"),
}
"""Our name -> the names it goes by, in lower case, best first."""

FORMATS = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
STRINGS = ("uid", "url", "text", "sha256", "key")


@dataclass(frozen=True)
class Found:
    """Files of one file system, by name."""

    fs: Any
    paths: tuple[str, ...]

    def states(self) -> list[str]:
        """Return what changes with each file's content: size and time of change, or an object store's own mark."""
        if isinstance(self.fs, LocalFileSystem):
            return [f"{(info := self.fs.info(path))['size']}-{info['mtime']}" for path in self.paths]
        return [str(self.fs.ukey(path)) for path in self.paths]

    def where(self, path: str) -> str:
        """Return one of the files as people find it: with its scheme."""
        return path if isinstance(self.fs, LocalFileSystem) else str(self.fs.unstrip_protocol(path))

    def open(self, path: str) -> IO[bytes]:
        """Open one of the files; what ends in .gz is unpacked."""
        return self.fs.open(path, "rb", compression="infer")  # type: ignore[no-any-return]


def find_files(url: str, field: str, suffixes: tuple[str, ...] = FORMATS) -> Found:
    """Return the files at a path, in a folder and the folders below it, or of a glob, sorted by name.

    Args:
        url: local or any fsspec URL.
        field: the config's key, for the error.
        suffixes: what counts; each also with .gz.

    Raises:
        UserError: nothing there that can be read.
    """
    fs, path = reach(url)
    if any(sign in path for sign in "*?["):
        names = fs.glob(path)
    elif fs.isdir(path):
        names = fs.find(path)
    else:
        names = [path] if fs.exists(path) else []
    paths = tuple(sorted(str(name) for name in names if str(name).removesuffix(".gz").endswith(suffixes)))
    if not paths:
        raise UserError(
            f"{field}: nothing to read at {url!r}; give a file, folder or glob of {', '.join(suffixes)} (.gz too)"
        )
    return Found(fs, paths)


def known_columns(names: Iterable[str]) -> dict[str, str]:
    """Return our name -> the name in the file, for every column that goes by one of the usual names."""
    by_lower: dict[str, str] = {}
    for name in names:
        by_lower.setdefault(name.lower(), name)
    found = ((ours, next((by_lower[c] for c in usual if c in by_lower), None)) for ours, usual in CANDIDATES.items())
    return {ours: theirs for ours, theirs in found if theirs is not None}


def column_kinds(found: Found, path: str, layout: Layout) -> dict[str, pa.DataType]:
    """Return the type of each column of a file, in their order: a text file is read once for it.

    Raises:
        UserError: the file is not what its name says.
    """
    where = found.where(path)
    with readable(repr(where)):
        if not path.endswith(".parquet"):
            return kinds_of(lambda: found.open(path), where, _with_texts(layout))
        with found.open(path) as file:
            schema = pq.ParquetFile(file).schema_arrow
        check_names(schema.names, repr(where))
        return {field.name: KINDS.get(layout.types.get(field.name, ""), field.type) for field in schema}


def blocks(
    found: Found, path: str, layout: Layout, kinds: Mapping[str, pa.DataType], account: Account
) -> Iterator[pa.Table]:
    """Yield the tables of a file, holding one block in memory at a time.

    Args:
        found: its file system.
        path: its name, whose ending tells the format.
        layout: how text is to be read.
        kinds: the columns to read and the type that each gets, that of `column_kinds` or a wider one.
        account: gets the rows that cannot be read.

    Raises:
        UserError: the file is not what its name says, or a value has no equal in its type.
    """
    where = found.where(path)
    with readable(repr(where)):
        if not path.endswith(".parquet"):
            yield from blocks_of(lambda: found.open(path), where, _with_texts(layout), kinds, account)
            return
        with found.open(path) as file:
            parquet = pq.ParquetFile(file)
            wanted = [name for name in parquet.schema_arrow.names if name in kinds]
            for batch in parquet.iter_batches(batch_size=65536, columns=wanted):
                batch.validate(full=True)  # parquet takes it on trust that text is UTF-8
                table = pa.Table.from_batches([batch])
                what = {name: f"column {name!r} of {where!r}" for name in table.column_names}
                yield pa.table({name: exact(table[name], kinds[name], what[name]) for name in table.column_names})


def _with_texts(layout: Layout) -> Layout:
    """Add the columns that are text whatever they look like: a caption of digits is a caption."""
    usual = {name for ours in STRINGS for name in CANDIDATES[ours]}
    return replace(layout, texts=layout.texts | usual)
