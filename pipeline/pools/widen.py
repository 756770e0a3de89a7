"""One type for a column that several files hold in several types, and casts into it that change no value."""

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.errors import UserError

__all__ = ["exact", "numbers_as", "widest"]


def widest(kinds: Iterable[pa.DataType]) -> pa.DataType:
    """Return the narrowest type that holds every value of all; text where nothing else does, whatever their order.

    Whole numbers and floats meet in float64, which holds whole numbers up to 2^53; `exact` refuses larger ones.
    """
    return reduce(_both, sorted({_plain(kind) for kind in kinds}, key=str), pa.null())


def exact(column: pa.ChunkedArray, kind: pa.DataType, what: str) -> pa.ChunkedArray:
    """Return a column as a type, every value as it was; numbers and lists become the text that means them.

    Args:
        column: any values.
        kind: the type.
        what: the column and its file, for the error.

    Raises:
        UserError: names the first value for which that is impossible.
    """
    if column.type == kind:
        return column
    try:
        if pa.types.is_string(kind) and not _is_text(column.type) and not pa.types.is_dictionary(column.type):
            return pa.chunked_array([[_words(value) for value in column.to_pylist()]], kind)
        cast = column.cast(kind)
        if pa.types.is_floating(kind) and pa.types.is_floating(column.type):  # Arrow rounds without a word
            same = pc.or_(pc.equal(cast.cast(column.type), column), pc.is_nan(column)).fill_null(True)
            if not pc.all(same, min_count=0).as_py():
                raise pa.ArrowInvalid("rounded")
        return cast
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        value = next((value for value in column if not _fits(value, kind)), None)
        raise UserError(
            f"{what}: {str(value)[:60]!r} cannot become {kind} without a change; where it is no mistake, give the "
            "column's type under `types`, for example `string`"
        ) from error


def _fits(value: pa.Scalar, kind: pa.DataType) -> bool:
    """Tell whether one value has an equal in a type."""
    try:
        cast = value.cast(kind).as_py()
        return not pa.types.is_floating(kind) or cast == value.as_py() or cast != cast
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values alone: dictionaries, views and large variants are ways to store them."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if _is_text(kind):
        return pa.string()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_large_list(kind):
        return pa.list_(kind.value_type)
    return kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _both(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the type for values of two."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_integer(one) and pa.types.is_integer(other):
        return _integer(one, other)
    numbers = [kind for kind in (one, other) if pa.types.is_floating(kind) or pa.types.is_integer(kind)]
    if len(numbers) == 2:
        return pa.float64()
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and one.tz == other.tz:
        return max(one, other, key=lambda kind: ("s", "ms", "us", "ns").index(kind.unit))
    if _is_list(one) and _is_list(other):
        return pa.list_(widest([one.value_type, other.value_type]))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            fields[field.name] = widest([fields.get(field.name, pa.null()), field.type])
        return pa.struct(sorted(fields.items()))
    return pa.string()


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind))


def _integer(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the integer type for values of two, text where none is wide enough."""
    if pa.types.is_signed_integer(one) == pa.types.is_signed_integer(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    signed, unsigned = sorted((one, other), key=pa.types.is_unsigned_integer)
    width = max(signed.bit_width, 2 * unsigned.bit_width)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(width, pa.string())


def _words(value: Any) -> str | None:
    """Return the text of a number, a date or a list."""
    if value is None:
        return None
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.decode()
    return str(value)


def numbers_as(column: pa.ChunkedArray, kind: pa.DataType) -> tuple[pa.ChunkedArray, pa.BooleanArray]:
    """Return a column as whole numbers, null where a value is none that the type holds, and where that was so.

    NaN is a missing value and no fault.
    """
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column.cast(kind), pa.array(np.zeros(len(column), bool))
    values = column.to_pylist()
    out = [_whole(value, kind) for value in values]
    bad = [value is not None and found is None for value, found in zip(values, out, strict=True)]
    return pa.chunked_array([pa.array(out, kind)]), pa.array(bad, pa.bool_())


def _whole(value: Any, kind: pa.DataType) -> int | None:
    """Return a value as a whole number that the type holds, None where it is none."""
    try:
        number = int(value)
        if float(value) != number:
            return None
        pa.scalar(number, kind)
    except (TypeError, ValueError, OverflowError, pa.ArrowInvalid):
        return None
    return number
