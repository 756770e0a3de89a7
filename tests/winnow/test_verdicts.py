"""Verdict tables: rows in the pool's order, read back with the pool's uids, and the change of a pool found."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.verdicts import write_verdicts
from winnow.errors import UserError
from winnow.storage import Store
from winnow.uid import to_hex
from winnow.verdicts import read_verdicts, verdict_rows

TABLES = {"00000": ["0" * 32, "1" * 32, "2" * 32], "00002": ["3" * 32], "00001": ["4" * 32, "5" * 32]}


def write_pool(root: Path, tables: dict[str, list[str]]) -> Store:
    (root / "metadata").mkdir(parents=True, exist_ok=True)
    for name, uids in tables.items():
        pq.write_table(pa.table({"uid": uids, "text": uids}), root / f"metadata/{name}.parquet")
    return Store(root)


def test_uids_come_from_the_pool(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", TABLES)
    reasons = ["", "dark", "", "small", "dark", ""]
    write_verdicts(tmp_path / "run/subsets/mine.parquet", TABLES, [1, 0, 2, 0, 0, 1], reasons)
    verdicts = read_verdicts(Store(tmp_path / "run"), "mine", ["reason"])
    assert verdicts.count.tolist() == [1, 0, 2, 0, 0, 1]
    assert verdicts.rows["reason"].to_pylist() == reasons
    assert [(table.name, table.start, table.stop) for table in verdicts.tables] == [
        ("00000", 0, 3), ("00002", 3, 4), ("00001", 4, 6)
    ]  # fmt: skip
    assert to_hex(verdicts.uids(pool)) == [uid for uids in TABLES.values() for uid in uids]


@pytest.mark.parametrize(
    "changed", [{"00001": ["5" * 32, "4" * 32]}, {"00001": ["4" * 32]}, {"00001": ["4" * 32, "6" * 32]}, {}]
)
def test_a_pool_that_changed_is_found(tmp_path: Path, changed: dict[str, list[str]]) -> None:
    """Samples in another order, fewer, others, or the whole table gone."""
    write_verdicts(tmp_path / "run/subsets/mine.parquet", TABLES, [1] * 6, [""] * 6)
    write_pool(tmp_path / "pool", {name: uids for name, uids in TABLES.items() if name != "00001"} | changed)
    with pytest.raises(UserError, match=r"'00001' are not those that were judged.*repeat `winnow select`"):
        read_verdicts(Store(tmp_path / "run"), "mine").uids(Store(tmp_path / "pool"))


def test_a_file_with_uids_and_no_checksums_is_read(tmp_path: Path) -> None:
    """Runs of before have such files; of them only the sizes can be compared."""
    pool = write_pool(tmp_path / "pool", {"00000": ["a" * 32, "b" * 32]})
    (tmp_path / "run/subsets").mkdir(parents=True)
    rows = {"uid": ["a" * 32, "b" * 32], "count": pa.array([0, 1], pa.uint16()), "reason": ["dark", ""]}
    table = pa.table(rows | {"shard": pa.array(["00000"] * 2).dictionary_encode()})
    pq.write_table(table, tmp_path / "run/subsets/old.parquet")
    verdicts = read_verdicts(Store(tmp_path / "run"), "old", ["reason"])
    assert to_hex(verdicts.uids(pool)) == ["a" * 32, "b" * 32]


@given(st.lists(st.sampled_from(["", "dark", "small", "same", "same"]), min_size=1, max_size=5), st.data())
def test_words_survive_though_some_repeat(reasons: list[str], data: st.DataObject) -> None:
    """Filters of one strategy may give the same reason; a dictionary with repeats would be written out in full."""
    code = data.draw(st.lists(st.integers(0, len(reasons) - 1), max_size=20))
    shard = pa.array(["0"] * len(code), pa.string()).dictionary_encode()
    rows = verdict_rows(np.zeros(len(code), np.uint16), np.array(code, np.uint16), reasons, shard)
    assert rows["reason"].to_pylist() == [reasons[number] for number in code]
    words = rows["reason"].chunk(0).dictionary.to_pylist() if code else []
    assert len(set(words)) == len(words)
