"""The manifest and fingerprint of a pool, against what the test computes from the rows it wrote."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_pool import write_pool

from filters.subset import read_subset, subset_of, write_subset
from pipeline.pools.recovery import compare, fingerprint, recover
from winnow.errors import UserError
from winnow.storage import Store
from winnow.uid import from_hex, make_uid


def test_the_manifest_holds_the_obtained_uids_and_the_fingerprint_names_them(tmp_path: Path) -> None:
    uids = write_pool(tmp_path)
    found = recover(Store(tmp_path))
    good = sorted(uid for row, uid in enumerate(uids) if row % 6 != 5)
    naive = np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in good], dtype="u8,u8")
    assert (found.uids == naive).all()
    assert (found.asked, found.obtained, found.share) == (12, 10, 10 / 12)
    assert found.statuses == {"success": 10, "HTTP 404": 2}
    data = b"".join(int(uid[half : half + 16], 16).to_bytes(8, "little") for uid in good for half in (0, 16))
    assert found.fingerprint == hashlib.sha256(data).hexdigest()[:16]
    assert found.fingerprint == fingerprint(read_subset(write_subset(found.uids)))
    assert found.fields() == {
        "pool_fingerprint": found.fingerprint,
        "pool_recovered": {"obtained": 10, "asked": 12},
    }


def test_the_fingerprint_depends_on_what_was_obtained_alone(tmp_path: Path) -> None:
    write_pool(tmp_path / "a", 2, 6)
    write_pool(tmp_path / "b", 2, 6)
    first = recover(Store(tmp_path / "a"))
    one, two = (tmp_path / "b" / "shards" / name for name in ("00000", "00001"))
    for end in (".tar", ".parquet"):  # shards change places
        one.with_suffix(end).rename(tmp_path / f"spare{end}")
        two.with_suffix(end).rename(one.with_suffix(end))
        (tmp_path / f"spare{end}").rename(two.with_suffix(end))
    assert recover(Store(tmp_path / "b")).fingerprint == first.fingerprint
    table = pq.read_table(one.with_suffix(".parquet"))
    status = ["failed_to_download", *table["status"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.column_names.index("status"), "status", pa.array(status)), f"{one}.parquet")
    lost = recover(Store(tmp_path / "b"))
    assert lost.fingerprint != first.fingerprint
    assert (lost.obtained, lost.asked) == (9, 12)


def test_a_pool_without_uids_is_known_by_url_and_caption(tmp_path: Path) -> None:
    write_pool(tmp_path, 1, 6)
    path = tmp_path / "shards" / "00000.parquet"
    table = pq.read_table(path)
    expected = recover(Store(tmp_path)).fingerprint
    pq.write_table(table.drop_columns("uid"), path)
    assert recover(Store(tmp_path)).fingerprint == expected  # that is how the tiny pool's uids were made
    pq.write_table(table.drop_columns(["uid", "caption"]), path)
    bare = [make_uid(f"http://pictures.test/{row}.jpg", "") for row in range(5)]
    assert (recover(Store(tmp_path)).uids == subset_of(from_hex(bare))).all()
    numbered = table.set_column(table.column_names.index("uid"), "uid", pa.array([str(row) for row in range(6)]))
    pq.write_table(numbered, path)
    assert recover(Store(tmp_path)).fingerprint == expected


def test_comparison_counts_sets(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        left, right = ([f"{n:032x}" for n in rng.integers(0, 12, rng.integers(0, 15))] for _ in range(2))
        found = compare(subset_of(from_hex(left)), subset_of(from_hex(right)))
        a, b = set(left), set(right)
        assert found["shared"] == len(a & b)
        assert (found["only_here"], found["only_there"]) == (len(a - b), len(b - a))
        assert found["jaccard"] == (len(a & b) / len(a | b) if a | b else 1.0)
        assert found["share_here"] == (len(a & b) / len(a) if a else 1.0)


def test_a_folder_without_shards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shards"):
        recover(Store(tmp_path))
