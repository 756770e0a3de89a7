"""Pools whose columns have every type there is."""

import datetime
import decimal
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_pool import write_pool

from eval.report.pool import galleries, histograms, read_pool, stages, strategies
from winnow.storage import Store

ROWS = 5
COLUMNS: dict[str, Any] = {
    "uint64": pa.array([2**64 - 1, 2**63, 2**53 + 1, 0, None], pa.uint64()),
    "int64": pa.array([2**63 - 1, -(2**63), 1, 0, None], pa.int64()),
    "half": pa.array(np.array([0, 1, 2, 3, np.inf], np.float16)),
    "infinite": pa.array([np.inf, -np.inf, np.nan, 1.0, None]),
    "flag": pa.array([True, False, None, True, False]),
    "words": pa.array(["a", "\x00", None, "", "d"]),
    "codes": pa.array(["a", "b", "a", None, "b"]).dictionary_encode(),
    "bytes": pa.array([b"\xff", b"", None, b"x", b"y"]),
    "list": pa.array([[1.0], [], None, [2.0, 3.0], [4.0]]),
    "vector": pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float32(), 2)),
    "struct": pa.array([{"a": 1}] * ROWS),
    "day": pa.array([datetime.date(2020, 1, 1)] * ROWS),
    "time": pa.array([datetime.datetime(2020, 1, 1)] * ROWS),
    "decimal": pa.array([decimal.Decimal("1.50")] * ROWS),
    "nothing": pa.nulls(ROWS),
    "boxes": pa.array([b"\xff", None, b"[]", b"{", b"1"]),
}


def with_column(pool: Path, uids: list[str], name: str) -> Store:
    store = Store(pool)
    file = io.BytesIO()
    pq.write_table(pa.table({"uid": uids[:ROWS], name: COLUMNS[name]}), file)
    store.write("columns/odd/00000.parquet", file.getvalue())
    return store


@pytest.mark.parametrize("name", COLUMNS)
def test_any_type_of_column(name: str, tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    store = with_column(tmp_path / "pool", uids, name)
    facts = read_pool(store, Store(tmp_path / "run"))
    assert facts.notes == []
    histograms(facts), stages(store, facts), strategies(facts), galleries(store, facts, 2, None)
    numbers = facts.columns.get(f"odd.{name}")
    assert numbers is None or not np.isinf(numbers).any()
    if name == "uint64":
        assert numbers is not None
        assert numbers[:4].tolist() == [2.0**64, 2.0**63, 2.0**53, 0.0]
        assert np.isnan(numbers[4])


@pytest.mark.parametrize("caption", [pa.array([[f"{i}", "b"] for i in range(6)]), pa.array(range(6)), pa.nulls(6)])
def test_captions_of_any_type(caption: Any, tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", num_shards=1)
    path = tmp_path / "pool" / "shards" / "00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index("caption"), "caption", caption), path)
    facts = read_pool(Store(tmp_path / "pool"), Store(tmp_path / "run"))
    assert len(facts.captions) == len(facts.uids) == 5
