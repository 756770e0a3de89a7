import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from winnow.columns import ColumnWriter, column_path, read_column_file, to_numpy
from winnow.errors import UserError
from winnow.storage import Store

UIDS = [f"{i:032x}" for i in range(5)]


def write(folder: Path, writer: ColumnWriter, uids: list[str] = UIDS) -> pa.Table:
    path = folder / column_path("s", "00000")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write(path, uids, {"name": "s", "fields": {"a": 1}})
    return read_column_file(Store(folder), "s", "00000")


def test_pieces_land_in_their_rows_and_the_rest_is_null(tmp_path: Path) -> None:
    writer = ColumnWriter()
    embedding = np.arange(8, dtype=np.float16).reshape(4, 2)
    flags = np.array([True, False, True, True])
    writer.add([0, 2], {"x": np.float32([0, 2]), "e": embedding[:2], "t": ["a", "b"], "f": flags[:2]})
    writer.add([3, 4], {"x": np.float32([3, 4]), "e": embedding[2:], "t": ["c", "d"], "f": flags[2:]})
    writer.fail(1, "no picture")
    table = write(tmp_path, writer)
    assert table.column_names == ["uid", "x", "e", "t", "f", "error"]
    assert table["uid"].to_pylist() == UIDS
    assert table["x"].to_pylist() == [0, None, 2, 3, 4]
    assert table["t"].to_pylist() == ["a", None, "b", "c", "d"]
    assert table["f"].to_pylist() == [True, None, False, True, True]
    assert table["e"].to_pylist() == [[0, 1], None, [2, 3], [4, 5], [6, 7]]
    assert table["error"].to_pylist() == [None, "no picture", None, None, None]
    assert table.schema.field("e").type == pa.list_(pa.float16(), 2)
    assert json.loads(table.schema.metadata[b"winnow"]) == {"name": "s", "fields": {"a": 1}}
    assert [to_numpy(table["e"].slice(2))[i].tolist() for i in range(3)] == [[2, 3], [4, 5], [6, 7]]
    assert to_numpy(table["x"])[[0, 2]].tolist() == [0, 2]
    assert to_numpy(table["f"]).dtype == bool


def test_no_rows_at_all_still_have_types(tmp_path: Path) -> None:
    writer = ColumnWriter()
    writer.add([], {"x": np.zeros(0, np.float32), "e": np.zeros((0, 3), np.float16), "t": []})
    for row in range(5):
        writer.fail(row, "broken")
    schema = write(tmp_path, writer).schema
    assert [str(schema.field(name).type) for name in ("x", "t")] == ["float", "string"]
    assert schema.field("e").type.list_size == 3
    assert write(tmp_path, writer, []).num_rows == 0


def test_64_bit_hashes_and_flags_keep_every_bit(tmp_path: Path) -> None:
    writer = ColumnWriter()
    hashes = np.array([2**64 - 1, 2**63 + 1, 0], np.uint64)
    writer.add([0, 2, 4], {"hash": hashes, "flag": np.array([True, False, True])})
    writer.fail(1, "no picture")
    table = write(tmp_path, writer)
    assert table.schema.field("hash").type == pa.uint64()
    assert table["hash"].to_pylist() == [2**64 - 1, None, 2**63 + 1, None, 0]
    values = to_numpy(table["hash"])
    assert values.dtype == np.uint64
    assert [int(values[row]) for row in (0, 2, 4)] == [2**64 - 1, 2**63 + 1, 0]
    assert to_numpy(table["flag"])[[0, 2, 4]].tolist() == [True, False, True]


def test_the_same_columns_give_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for split in ([[0, 1, 2, 3, 4]], [[0], [1, 2], [3, 4]]):
        writer = ColumnWriter()
        for rows in split:
            writer.add(rows, {"x": np.float32(rows), "t": [str(r) for r in rows]})
        writer.write(tmp_path / "file", UIDS, {})
        files.append((tmp_path / "file").read_bytes())
    assert files[0] == files[1]
    assert pq.read_table(tmp_path / "file").num_rows == 5


def test_a_scorer_that_loses_samples_is_caught() -> None:
    with pytest.raises(ValueError, match="1 values for 2 samples"):
        ColumnWriter().add([0, 1], {"x": [1]})
    writer = ColumnWriter()
    writer.add([0], {"x": [1]})
    with pytest.raises(ValueError, match="differ"):
        writer.add([1], {"y": [1]})


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="winnow score"):
        read_column_file(Store(tmp_path), "clip", "00000")
