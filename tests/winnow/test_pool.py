import os

import pytest
from tiny_pool import write_pool

from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.pool import PoolShard, pool_shards, pool_tables, read_table
from winnow.shards import read_shard
from winnow.storage import Store


def test_shards_are_found_in_the_folder_and_at_the_top(tmp_path):
    write_pool(tmp_path)
    inner, top = pool_shards(Store(tmp_path)), pool_shards(Store(tmp_path / "shards"))
    assert [(shard.name, shard.tar, shard.table) for shard in inner] == [
        (name, f"shards/{name}.tar", f"shards/{name}.parquet") for name in ("00000", "00001")
    ]
    assert [shard.tar for shard in top] == ["00000.tar", "00001.tar"]
    assert [shard.fingerprint for shard in inner] == [shard.fingerprint for shard in top]


def test_successful_rows_are_the_samples_in_order(tmp_path):
    write_pool(tmp_path)
    store = Store(tmp_path)
    for shard in pool_shards(store):
        rows = [row for row in read_table(store, shard).to_pylist() if row["status"] == "success"]
        with store.open(shard.tar) as file:
            assert [sample.meta["uid"] for sample in read_shard(file)] == [row["uid"] for row in rows]


@pytest.mark.parametrize("end", [".tar", ".parquet"])
def test_a_changed_file_changes_the_fingerprint_of_its_shard_alone(tmp_path, end):
    write_pool(tmp_path)
    before = pool_shards(Store(tmp_path))
    path = tmp_path / "shards" / f"00001{end}"
    os.utime(path, (1, 1))
    after = pool_shards(Store(tmp_path))
    assert after[0] == before[0]
    assert after[1].fingerprint != before[1].fingerprint


def test_where_the_journal_knows_of_downloads_it_alone_counts(tmp_path):
    write_pool(tmp_path)
    files = {f"shards/00001{end}": (1, "a" * 64) for end in (".tar", ".parquet", "_stats.json")}
    row = Row(product="download/00001", key="k", files=files)
    Journal(Store(tmp_path)).append(row)
    expected = PoolShard("00001", "shards/00001.parquet", "a" * 64, "shards/00001.tar")
    assert pool_shards(Store(tmp_path)) == [expected]


def test_an_object_store_is_a_pool_too(tmp_path):
    import fsspec

    write_pool(tmp_path)
    fsspec.filesystem("memory").put(str(tmp_path / "shards"), "/pool/shards", recursive=True)
    store = Store("memory://pool")
    shards = pool_shards(store)
    assert [shard.name for shard in shards] == ["00000", "00001"]
    assert read_table(store, shards[0]).num_rows == 6


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(UserError, match="no shards in the pool"):
        pool_shards(Store(tmp_path))
    write_pool(tmp_path)
    (tmp_path / "shards" / "00000.parquet").unlink()
    with pytest.raises(UserError, match=r"00000\.parquet"):
        pool_shards(Store(tmp_path))


def test_a_pool_of_metadata_alone_has_tables_and_no_shards(tmp_path):
    (tmp_path / "metadata").mkdir()
    for name in ("00000", "00001", "duplicates", "rejected"):
        (tmp_path / "metadata" / f"{name}.parquet").write_bytes(name.encode())
    store = Store(tmp_path)
    with pytest.raises(UserError, match=r"metadata alone.*`winnow download` makes them"):
        pool_shards(store)
    before = pool_tables(store)
    assert [(table.name, table.table) for table in before] == [
        (name, f"metadata/{name}.parquet") for name in ("00000", "00001")
    ]
    os.utime(tmp_path / "metadata/00001.parquet", (1, 1))
    after = pool_tables(store)
    assert after[0] == before[0]
    assert after[1].fingerprint != before[1].fingerprint
    # what ingest wrote is known by its content
    files = {f"metadata/{name}.parquet": (5, name * 12) for name in ("00000", "00001", "rejected")}
    Journal(store).append(Row(product="ingest/metadata", key="k", files=files))
    known = pool_tables(store)
    os.utime(tmp_path / "metadata/00001.parquet", (2, 2))
    assert pool_tables(store) == known
    write_pool(tmp_path)
    assert pool_tables(store) == pool_shards(store)


def test_a_pool_of_nothing(tmp_path):
    with pytest.raises(UserError, match=r"no samples in the pool .*metadata/.*`winnow ingest`"):
        pool_tables(Store(tmp_path))
