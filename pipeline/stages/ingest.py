"""Bring a source's metadata into the pool: uids, one file per future shard, duplicates and rejects accounted for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.pools.widen import exact, numbers_as
from pipeline.source import Source
from pipeline.stage import Product, Stage, Unit
from winnow.account import Account
from winnow.component import build, digest
from winnow.errors import UserError
from winnow.tables import readable
from winnow.uid import from_hex, identify

__all__ = ["Ingest"]

COLUMNS = {
    "uid": pa.string(),
    "url": pa.string(),
    "text": pa.string(),
    "original_width": pa.int32(),
    "original_height": pa.int32(),
    "sha256": pa.string(),
}
"""The columns every metadata file has, in this order; others follow."""

SIZES = ("original_width", "original_height")
RESERVED = frozenset(
    ("caption", "key", "status", "error_message", "width", "height", "exif", "hash_verdict", "converted")
)  # names that the download gives to columns of its own


class Ingest(Stage):
    """Write `metadata/NNNNN.parquet` and the extras that the source provides."""

    name: ClassVar[str] = "ingest"
    home: ClassVar[str] = "pool"

    source: dict[str, Any] = Field(default_factory=lambda: {"use": "webnoise"})
    """The source: `use` names a file of pipeline/sources/, the rest are its fields."""
    rows_per_file: int = Field(default=1000, ge=1, le=10_000_000)
    """Rows of a metadata file, hence samples of a shard; 10000 suits large pools."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._source()  # finds its mistakes before anything runs
        return self

    def plan(self) -> list[Unit]:
        """Return one unit for the metadata and one for each kind of extras that the source provides."""
        source = self._source()
        fingerprint = source.fingerprint()
        keys = {"metadata": digest("ingest/metadata", fingerprint, self.rows_per_file)}
        keys |= {kind: digest("ingest", kind, fingerprint) for kind in source.provides}
        return [Unit(name=name, products={f"ingest/{name}": key}) for name, key in keys.items()]

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Make the metadata files, or one kind of extras."""
        if unit.name == "metadata":
            return {"ingest/metadata": self._metadata(attempt)}
        files = self._source().extras(unit.name, attempt)
        return {f"ingest/{unit.name}": Product(files=files, counts={"files": len(files)})}

    def _source(self) -> Source:
        """Build the source from its section."""
        source: Source = build("pipeline.sources", self.source, "source")
        return source

    def _metadata(self, attempt: Path) -> Product:
        """Stream the source's tables into files of `rows_per_file` rows."""
        cleaner, source = _Cleaner(), self._source()
        files: dict[str, Path] = {}
        num_samples = 0
        for table in _regroup(map(cleaner, source.tables()), self.rows_per_file):
            name = f"{len(files):05d}.parquet"
            # A short last file must not give its shard's keys fewer digits.
            table = table.replace_schema_metadata({"rows_per_file": str(self.rows_per_file)})
            pq.write_table(table, attempt / name)
            files[f"metadata/{name}"] = attempt / name
            num_samples += table.num_rows
        for kind, rows in (("duplicates", cleaner.duplicates), ("rejected", cleaner.rejected)):
            if rows:
                pq.write_table(pa.concat_tables(rows), attempt / f"{kind}.parquet")
                files[f"metadata/{kind}.parquet"] = attempt / f"{kind}.parquet"
        cleaner.account.add(source.unread())
        if not num_samples:
            raise UserError(f"the source has no usable row: {cleaner.account.lines()[0]}; see `source` in the config")
        return Product(files=files, counts={"samples": num_samples, **cleaner.counts}, account=cleaner.account)


class _Cleaner:
    """Turn raw tables into metadata tables, one after the other, remembering every uid it has seen."""

    def __init__(self) -> None:
        self.account = Account("rows")
        self.schema: pa.Schema | None = None
        self.seen = _UidSet()
        self.duplicates: list[pa.Table] = []
        self.rejected: list[pa.Table] = []
        self.counts = {"duplicates": 0, "rejected: no url": 0, "rejected: not a http url": 0}

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the usable rows of a raw table under the pool's schema.

        Raises:
            UserError: it has columns of a kind that cannot be carried along.
        """
        with readable("the source"):
            return self._clean(self._conform(table))

    def _clean(self, table: pa.Table) -> pa.Table:
        """Return the usable rows of a table under the pool's schema."""
        self.account.read += table.num_rows
        table = self._reject(table)
        parts = (table[name].to_pylist() for name in ("uid", "url", "text"))
        uids = [identify(*row) for row in zip(*parts, strict=True)]
        table = table.set_column(0, "uid", pa.array(uids, pa.string()))
        new = self.seen.add(from_hex(uids))
        if not new.all():
            self.duplicates.append(table.filter(pa.array(~new)).select(["uid", "url", "text"]))
            self.counts["duplicates"] += int((~new).sum())
            first = uids[int(new.argmin())]
            self.account.leave_out("duplicates", f"uid {first}", int((~new).sum()))
        return table.filter(pa.array(new))

    def _conform(self, table: pa.Table) -> pa.Table:
        """Cast to the schema that the first table sets: our columns first, then what the source carries.

        Raises:
            UserError: a later table has a column the first lacks, or a value does not fit.
        """
        table = table.rename_columns([self._renamed(name, table.column_names) for name in table.column_names])
        if self.schema is None:
            carried = [
                pa.field(field.name, _carried(field.type)) for field in table.schema if field.name not in COLUMNS
            ]
            self.schema = pa.schema([*(pa.field(*item) for item in COLUMNS.items()), *carried])
        if unexpected := set(table.column_names) - set(self.schema.names):
            raise UserError(f"the source's files differ: column {min(unexpected)!r} is missing in the first of them")
        columns = []
        for field in self.schema:
            if field.name not in table.column_names:
                columns.append(pa.nulls(table.num_rows, field.type))
                continue
            if field.name in SIZES:
                column, bad = numbers_as(table[field.name], field.type)
                if count := pc.sum(bad).as_py():
                    first = table[field.name][pc.index(bad, True).as_py()].as_py()
                    self.account.note(
                        f"`{field.name}` is unknown where it is no size, {count} rows at once, such as {first!r}"
                    )
            else:
                column = exact(table[field.name], field.type, f"column {field.name!r} of the source")
            columns.append(column)
        return pa.table(columns, schema=self.schema)

    def _renamed(self, name: str, names: list[str]) -> str:
        """Return the name under which a column is carried along: another where the download has one like it."""
        if name not in RESERVED:
            return name
        new = f"source_{name}"
        while new in names:
            new = f"source_{new}"
        self.account.note(f"column {name!r} is carried along as `{new}`")
        return new

    def _reject(self, table: pa.Table) -> pa.Table:
        """Set aside the rows that cannot be fetched; an absent caption becomes the empty one."""
        url = pc.fill_null(pc.utf8_trim_whitespace(table["url"]), "")
        table = table.set_column(1, "url", url).set_column(2, "text", pc.fill_null(table["text"], ""))
        empty = pc.equal(url, "")
        foreign = pc.and_(pc.invert(empty), pc.invert(pc.match_substring_regex(url, "^(?i)https?://[^/]")))
        for reason, mask in (("no url", empty), ("not a http url", foreign)):
            if count := pc.sum(mask).as_py() or 0:
                rows = table.filter(mask).select(["url", "text"])
                self.rejected.append(rows.append_column("reason", pa.array([reason] * count)))
                self.counts[f"rejected: {reason}"] += count
                first = rows.slice(0, 1).to_pylist()[0]
                self.account.leave_out(reason, f"url {first['url'][:80]!r}, text {first['text'][:40]!r}", count)
        return table.filter(pc.invert(pc.or_(empty, foreign)))


def _carried(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is carried along: Arrow cannot yet filter views of text."""
    if pa.types.is_binary_view(kind):
        return pa.binary()
    return pa.string() if pa.types.is_null(kind) or pa.types.is_string_view(kind) else kind


class _UidSet:
    """A set of uids at 16 bytes each: sorted runs, merged when they reach equal size, as a log-structured tree does."""

    def __init__(self) -> None:
        self.runs: list[NDArray[np.bytes_]] = []

    def add(self, uids: NDArray[np.void]) -> NDArray[np.bool_]:
        """Add (n,) uids and return (n,) bool: whether each was new, the first of equal ones counting as new."""
        words = uids["f0"].astype(">u8"), uids["f1"].astype(">u8")
        raw = np.stack(words, axis=1).view("S16").reshape(-1)
        _, first = np.unique(raw, return_index=True)
        new = np.zeros(len(raw), dtype=bool)
        new[first] = True
        for run in self.runs:
            place = np.minimum(np.searchsorted(run, raw), len(run) - 1)
            new &= run[place] != raw
        if new.any():
            self.runs.append(np.sort(raw[new]))
        while len(self.runs) > 1 and len(self.runs[-1]) * 2 >= len(self.runs[-2]):
            self.runs.append(np.sort(np.concatenate([self.runs.pop(), self.runs.pop()])))
        return new


def _regroup(tables: Iterator[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """Yield the rows of a stream of tables in tables of `num_rows`, the last one shorter."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= num_rows:
            merged = pa.concat_tables(waiting)
            yield merged.slice(0, num_rows)
            waiting, count = [merged.slice(num_rows)], count - num_rows
    if count:
        yield pa.concat_tables(waiting)
