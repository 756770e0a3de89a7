"""Tables that are text: csv, tsv, jsonl, json and lists of addresses, block by block, every value as it was written.

What a column's type is depends on all of its values, whichever come first: `kinds_of` looks at the whole file, then
`blocks_of` reads it again in those types. A column is of numbers only if every value in it is written as a number
would be, so that dates, hashes and identifiers with leading zeros stay text, and so do the captions "NA" and "null".
"""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipeline.pools.widen import exact, widest
from winnow.account import Account
from winnow.errors import UserError
from winnow.tables import check_names

__all__ = ["KINDS", "Layout", "blocks_of", "kinds_of"]

BLOCK_BYTES = 1 << 24
"""Of a csv file that are parsed at a time; a row must fit."""
BLOCK_ROWS = 20_000
"""Of other files that are parsed at a time."""
MISSING = ("NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "none")
"""Words that stand for no value where all others of the column are numbers; elsewhere they are words."""
INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
FLOAT = r"^-?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?$"
"""Whole numbers among them have at most 15 digits, which float64 holds."""
BOOLEAN = r"^([Tt]rue|[Ff]alse|TRUE|FALSE)$"
KINDS = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Layout:
    """How text files are to be read, where the usual way is not theirs."""

    delimiter: str | None = None
    """Between the columns; a comma in csv and a tab in tsv if None."""
    quote: str | None = None
    """Around values that hold delimiters; a quotation mark in csv and nothing in tsv if None, "" for nothing."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Column -> a name of `KINDS`, whatever the values look like."""
    texts: frozenset[str] = frozenset()
    """Further columns that are text whatever they look like, in lower case."""

    def given(self, name: str) -> pa.DataType | None:
        """Return the type that was asked for, None where the values tell."""
        if name in self.types:
            return KINDS[self.types[name]]
        return pa.string() if name.lower() in self.texts else None


def kinds_of(open_file: Open, path: str, layout: Layout) -> dict[str, pa.DataType]:
    """Return the type of each column, in their order, having looked at all values."""
    kinds: dict[str, Any] = {}
    for block in _raw(open_file, path, layout, Account()):
        for name in block.column_names:
            column = block[name]
            if _is_csv(path) and layout.given(name) is None:
                kinds.setdefault(name, _Written()).look(column)
            else:
                seen = kinds.get(name, pa.null())
                kinds[name] = layout.given(name) or widest([seen, column.type])
    return {name: kind.kind() if isinstance(kind, _Written) else kind for name, kind in kinds.items()}


def blocks_of(
    open_file: Open, path: str, layout: Layout, kinds: Mapping[str, pa.DataType], account: Account
) -> Iterator[pa.Table]:
    """Yield the columns that have a type, in it; rows that cannot be read are counted in the account.

    Raises:
        UserError: a value has no equal in its type.
    """
    for block in _raw(open_file, path, layout, account):
        columns = {}
        for name in (name for name in block.column_names if name in kinds):
            column, kind = block[name], kinds[name]
            what = f"column {name!r} of {path!r}"
            columns[name] = _parsed(column, kind, what) if _is_csv(path) else exact(column, kind, what)
        yield pa.table(columns)


class _Written:
    """What the values of a column could be, by how they are written."""

    def __init__(self) -> None:
        self.could = {"int64": INTEGER, "float64": FLOAT, "bool": BOOLEAN}
        self.some = self.words = False

    def look(self, column: pa.ChunkedArray) -> None:
        """Rule out what these values are not."""
        filled = column.filter(pc.not_equal(column, ""))
        self.words |= len(filled) > 0
        filled = filled.filter(pc.invert(pc.is_in(filled, pa.array(MISSING))))
        self.some |= len(filled) > 0
        self.could = {
            name: rule
            for name, rule in self.could.items()
            if pc.all(pc.match_substring_regex(filled, rule), min_count=0).as_py()
        }

    def kind(self) -> pa.DataType:
        """Return the first type that remains; a column without any value has none."""
        if not self.some:
            return pa.string() if self.words else pa.null()
        return KINDS[next(iter(self.could), "string")]


def _parsed(column: pa.ChunkedArray, kind: pa.DataType, what: str) -> pa.ChunkedArray:
    """Return written values in a type; what is empty is missing."""
    column = pc.if_else(pc.equal(column, ""), None, column)
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return column.cast(kind) if pa.types.is_string(kind) else pa.chunked_array([pa.nulls(len(column))])
    column = pc.if_else(pc.is_in(column, pa.array(MISSING)), None, column)
    return exact(column, kind, what)


def _is_csv(path: str) -> bool:
    return _ending(path) in ("csv", "tsv")


def _ending(path: str) -> str:
    return path.removesuffix(".gz").rpartition(".")[2]


def _raw(open_file: Open, path: str, layout: Layout, account: Account) -> Iterator[pa.Table]:
    """Yield blocks of values: texts of csv and tsv, what JSON says of the others."""
    kind = _ending(path)
    if kind in ("csv", "tsv"):
        yield from _csv_blocks(open_file, path, layout, account)
        return
    with open_file() as file:
        rows = {"jsonl": _json_lines, "json": _json_array, "txt": _addresses}[kind](file, path, account)
        while block := [row for _, row in zip(range(BLOCK_ROWS), rows, strict=False)]:
            yield _table(block, path, account)


def _csv_blocks(open_file: Open, path: str, layout: Layout, account: Account) -> Iterator[pa.Table]:
    """Yield blocks of texts; rows of another number of columns and rows that are not UTF-8 are left out."""
    delimiter = layout.delimiter or ("\t" if _ending(path) == "tsv" else ",")
    quote = layout.quote if layout.quote is not None else ("" if _ending(path) == "tsv" else '"')
    with open_file() as file:
        head = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
        quoting: Any = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
        names = next(csv.reader(head, delimiter=delimiter, **quoting), [])
    if not names:
        raise UserError(f"cannot read {path!r}: it is empty; a table begins with a line of column names")
    check_names(names, repr(path))

    def odd(row: Any) -> str:
        where = f"{path}, row {row.number}" if row.number else f"{path}, {str(row.text)[:60]!r}"
        account.skip(f"{row.actual_columns} columns instead of {row.expected_columns}", where)
        return "skip"

    with open_file() as file:
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, quote_char=quote or False, newlines_in_values=bool(quote), invalid_row_handler=odd
            ),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
        )
        for batch in reader:
            yield _decoded(pa.Table.from_batches([batch]), path, account)


def _decoded(table: pa.Table, path: str, account: Account) -> pa.Table:
    """Return columns of bytes as text, without the rows that are not UTF-8."""
    try:
        decoded = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
        decoded.validate(full=True)
        return decoded
    except pa.ArrowInvalid:
        rows = [row for row in table.to_pylist() if _utf8(row, path, account)]
        columns = {name: [row[name] and row[name].decode() for row in rows] for name in table.column_names}
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _utf8(row: Mapping[str, bytes | None], path: str, account: Account) -> bool:
    """Tell whether a row is UTF-8, counting it where it is not."""
    try:
        for value in row.values():
            codecs.decode(value or b"", "utf-8")
    except UnicodeDecodeError:
        account.skip("not UTF-8", f"{path}, {bytes(next(iter(row.values())) or b'')[:60]!r}")
        return False
    return True


def _json_lines(file: IO[bytes], path: str, account: Account) -> Iterator[dict[str, Any]]:
    """Return the objects, one a line."""

    def parsed() -> Iterator[tuple[str, Any]]:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield f"line {number}", json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                except ValueError:
                    yield f"line {number}", None

    return _objects(parsed(), path, account)


def _json_array(file: IO[bytes], path: str, account: Account) -> Iterator[dict[str, Any]]:
    """Return the objects of an array, or the rows of an object of columns, as pandas writes either."""
    try:
        found = json.loads(file.read().decode("utf-8-sig"))
    except ValueError as error:
        raise UserError(f"cannot read {path!r}: {error}; a .json file is one array of objects") from error
    if isinstance(found, dict) and all(isinstance(column, list | dict) for column in found.values()):
        columns = {
            name: list(values.values() if isinstance(values, dict) else values) for name, values in found.items()
        }
        if len({len(values) for values in columns.values()}) > 1:
            raise UserError(f"cannot read {path!r}: its columns have different lengths")
        found = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if not isinstance(found, list):
        raise UserError(f"cannot read {path!r}: a .json file is one array of objects, not {type(found).__name__}")
    return _objects(((f"item {number}", row) for number, row in enumerate(found, 1)), path, account)


def _objects(rows: Iterable[tuple[str, Any]], path: str, account: Account) -> Iterator[dict[str, Any]]:
    """Yield those that are objects; the place of any other is counted."""
    for place, row in rows:
        if isinstance(row, dict):
            yield row
        else:
            account.skip("no JSON object", f"{path}, {place}")


def _addresses(file: IO[bytes], path: str, account: Account) -> Iterator[dict[str, Any]]:
    """Yield one row a line of a list of addresses, which have no captions."""
    for number, line in enumerate(file, 1):
        try:
            url = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            account.skip("not UTF-8", f"{path}, line {number}")
            continue
        if url:
            yield {"url": url, "text": None}


def _table(rows: list[dict[str, Any]], path: str, account: Account) -> pa.Table:
    """Return rows as a table; those with half of a surrogate pair, which no UTF-8 can hold, are left out."""
    try:
        return pa.table({name: _array([row.get(name) for row in rows]) for name in _names(rows)})
    except UnicodeEncodeError:
        good = []
        for row in rows:
            try:
                json.dumps(row, ensure_ascii=False).encode()
                good.append(row)
            except UnicodeEncodeError:
                account.skip("text that is not Unicode", f"{path}, {ascii(row)[:80]}")
        return pa.table({name: _array([row.get(name) for row in good]) for name in _names(rows)})


def _names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of all rows, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _array(values: list[Any]) -> pa.Array:
    """Return values in their own type, or as text where they are of several that nothing else holds."""
    if {type(value) for value in values} <= {str, type(None)}:
        return pa.array(values)
    try:
        if not any(isinstance(value, bool) for value in values) or all(
            isinstance(value, bool | None) for value in values
        ):
            return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        pass
    texts = [
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ]
    return pa.array(texts, pa.string())
