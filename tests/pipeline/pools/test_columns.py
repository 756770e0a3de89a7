"""The reader of a pool's columns against pandas-like concatenation of whole files, however the pool is cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.pools.columns import PoolColumns, Rows
from winnow.columns import column_path
from winnow.errors import UserError
from winnow.pool import PoolTable, pool_tables
from winnow.storage import Store
from winnow.uid import make_uid, to_arrow, to_hex

NAMES = ["meta.text", "meta.original_width", "clip.similarity", "clip.embedding", "language.language", "ok.reliable"]
SIZES = [(23,), (7, 0, 9, 7), (1,) * 23]


def pool(root: Path, sizes: tuple[int, ...], *, row_group: int = 5, failed: bool = True, repeats: int = 0) -> list[Any]:
    """Write a pool by hand, rows drawn by their number; return its rows, None for those that are no samples."""
    rows: list[Any] = []
    number = 0
    for shard, size in enumerate(sizes):
        mine = []
        for _ in range(size):
            mine.append(row(number if number < sum(sizes) - repeats else number - sum(sizes) + repeats))
            number += 1
        write(root, f"{shard:05d}", mine, row_group, failed)
        rows += mine
    return rows


def row(number: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    return {
        "uid": rng.bytes(16).hex(),
        "text": None if number % 7 == 3 else f"caption {number} é",
        "original_width": None if number % 5 == 1 else int(rng.integers(0, 1000)),
        "similarity": float("nan") if number % 6 == 2 else float(np.float32(rng.normal())),
        "embedding": rng.normal(size=3).astype(np.float32),
        "language": ["en", "de", None][number % 3],
        "reliable": number % 2 == 0,
    }


def write(root: Path, name: str, rows: list[dict[str, Any]], row_group: int, failed: bool) -> None:
    tried = []
    for place, item in enumerate(rows):
        if failed and place % 3 == 1:
            tried.append({"uid": "f" * 32, "text": "lost", "original_width": 1, "status": "failed_to_download"})
        tried.append({key: item[key] for key in ("uid", "text", "original_width")} | {"status": "success"})
    kinds = [("uid", pa.string()), ("text", pa.string()), ("original_width", pa.int32()), ("status", pa.string())]
    table = pa.Table.from_pylist(tried, schema=pa.schema(kinds)).rename_columns({"text": "caption"})
    (root / "shards").mkdir(parents=True, exist_ok=True)
    (root / f"shards/{name}.tar").touch()
    pq.write_table(table, root / f"shards/{name}.parquet", row_group_size=row_group)
    uids = pa.array([item["uid"] for item in rows], pa.string())
    vectors = np.array([item["embedding"] for item in rows], np.float32).reshape(-1)
    scores = {
        "clip": {
            "similarity": pa.array([item["similarity"] for item in rows], pa.float32()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors), 3),
        },
        "language": {"language": pa.array([item["language"] for item in rows], pa.string()).dictionary_encode()},
        "ok": {"reliable": pa.array([item["reliable"] for item in rows], pa.bool_())},
    }
    for scorer, columns in scores.items():
        path = root / column_path(scorer, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"uid": uids, **columns}), path, row_group_size=row_group + 2)


def everything(columns: PoolColumns) -> dict[str, list[Any]]:
    """Return all columns as lists, having checked that each chunk is whole."""
    out: dict[str, list[Any]] = {name: [] for name in ("uid", *NAMES)}
    for chunk in columns.chunks(NAMES):
        assert {len(chunk[name]) for name in NAMES} == {chunk.num_samples}
        out["uid"] += to_hex(chunk.uids)
        for name in NAMES:
            out[name] += chunk[name].tolist()
    return out


def wanted(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    first: dict[str, dict[str, Any]] = {}
    for item in rows:
        first.setdefault(item["uid"], item)
    rows = list(first.values())
    found = {name: [item[name.rpartition(".")[2]] for item in rows] for name in NAMES}
    found["meta.original_width"] = [float("nan") if width is None else width for width in found["meta.original_width"]]
    found["clip.embedding"] = [vector.tolist() for vector in found["clip.embedding"]]
    return {"uid": [item["uid"] for item in rows], **found}


def rows_of(columns: PoolColumns) -> list[Rows]:
    return list(columns.map(lambda rows, _: rows, []))


def tables(root: Path) -> Any:
    return pool_tables(Store(root))


@pytest.mark.parametrize("chunk_rows", [1, 4, 10, 65_536])
@pytest.mark.parametrize("row_group", [1, 5, 100])
@pytest.mark.parametrize("sizes", SIZES)
def test_rows_do_not_depend_on_how_pool_and_chunks_are_cut(
    tmp_path: Path, sizes: tuple[int, ...], row_group: int, chunk_rows: int
) -> None:
    rows = pool(tmp_path, sizes, row_group=row_group, repeats=4)
    columns = PoolColumns(Store(tmp_path), tables(tmp_path), chunk_rows)
    np.testing.assert_equal(everything(columns), wanted(rows))
    assert (columns.num_rows, columns.num_samples) == (23, 19)
    found = rows_of(columns)
    assert [uid for part in found for uid in to_hex(part.uids)] == [item["uid"] for item in rows]
    assert [again for part in found for again in part.again.tolist()] == [False] * 19 + [True] * 4
    names = [name for part in found for name in part.table.to_pylist()]
    assert names == [f"{shard:05d}" for shard, size in enumerate(sizes) for _ in range(size)]
    assert [(~part.again).sum() for part in found] == [chunk.num_samples for chunk in columns.chunks([])]
    assert max(len(part.uids) for part in found) <= 2 * max(chunk_rows, 1) + max(sizes)


def test_an_uid_may_repeat_within_and_across_chunks(tmp_path: Path) -> None:
    items = [row(number) for number in (0, 1, 0, 2, 1, 0, 3, 3)]
    for shard in range(4):
        write(tmp_path, f"{shard:05d}", items[2 * shard : 2 * shard + 2], 1, False)
    for chunk_rows in (1, 3, 100):
        columns = PoolColumns(Store(tmp_path), tables(tmp_path), chunk_rows)
        again = np.concatenate([part.again for part in rows_of(columns)])
        assert again.tolist() == [False, False, True, False, True, True, False, True]
        np.testing.assert_equal(everything(columns), wanted(items))


def test_equal_upper_words_are_no_duplicates(tmp_path: Path) -> None:
    items = [row(number) | {"uid": "0" * 16 + f"{number % 5:016x}"} for number in range(8)]
    write(tmp_path, "00000", items, 3, False)
    columns = PoolColumns(Store(tmp_path), tables(tmp_path), 2)
    assert np.concatenate([part.again for part in rows_of(columns)]).tolist() == [False] * 5 + [True] * 3


def test_it_may_be_read_as_often_as_need_be_and_left_half_way(tmp_path: Path) -> None:
    rows = pool(tmp_path, (9, 9, 9))
    columns = PoolColumns(Store(tmp_path), tables(tmp_path), 2)
    for _ in range(3):
        assert next(iter(columns.chunks(["clip.similarity"]))).num_samples
    for _ in range(2):
        np.testing.assert_equal(everything(columns), wanted(rows))


def test_an_object_store_is_read_too(tmp_path: Path) -> None:
    import fsspec

    rows = pool(tmp_path, (9, 9))
    fsspec.filesystem("memory").put(str(tmp_path), "/read_columns", recursive=True)
    store = Store("memory://read_columns")
    np.testing.assert_equal(everything(PoolColumns(store, pool_tables(store), 4)), wanted(rows))


def test_columns_whose_type_differs_from_shard_to_shard_join(tmp_path: Path) -> None:
    pool(tmp_path, (3, 3, 3), failed=False)
    kinds = [pa.array([0.5, None, 2.0], pa.float32()), pa.array([3, 4, None]), pa.nulls(3)]
    words = [pa.array(["en", "de", None]).dictionary_encode(), pa.array(["fr", None, "en"]), pa.nulls(3)]
    for shard in range(3):
        name = tmp_path / column_path("clip", f"{shard:05d}")
        table = pa.table({"uid": pq.read_table(name)["uid"], "similarity": kinds[shard], "word": words[shard]})
        pq.write_table(table, name)
    (chunk,) = PoolColumns(Store(tmp_path), tables(tmp_path)).chunks(["clip.similarity", "clip.word"])
    nan = float("nan")
    np.testing.assert_equal(chunk["clip.similarity"].tolist(), [0.5, nan, 2.0, 3.0, 4.0, nan, nan, nan, nan])
    assert chunk["clip.word"].tolist() == ["en", "de", None, "fr", None, "en", None, None, None]


def test_missing_embeddings_are_nan(tmp_path: Path) -> None:
    pool(tmp_path, (3,), failed=False)
    name = tmp_path / column_path("clip", "00000")
    vectors = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float16(), 2))
    pq.write_table(pa.table({"uid": pq.read_table(name)["uid"], "embedding": vectors}), name)
    (chunk,) = PoolColumns(Store(tmp_path), tables(tmp_path)).chunks(["clip.embedding"])
    assert chunk["clip.embedding"].dtype == np.float16
    np.testing.assert_array_equal(chunk["clip.embedding"], [[1, 2], [np.nan, np.nan], [3, 4]])
    np.testing.assert_array_equal(chunk.take(np.array([True, False, True]))["clip.embedding"], [[1, 2], [3, 4]])


def test_metadata_alone_are_a_pool(tmp_path: Path) -> None:
    table = pa.table({"url": ["a", "b"], "text": ["one", None], "clip_l14_similarity_score": [0.3, 0.1]})
    (tmp_path / "metadata").mkdir()
    pq.write_table(table, tmp_path / "metadata/part.parquet")
    columns = PoolColumns(Store(tmp_path), tables(tmp_path))
    (chunk,) = columns.chunks(["meta.clip_l14_similarity_score", "meta.caption", "meta.text"])
    assert to_hex(chunk.uids) == [make_uid("a", "one"), make_uid("b", "")]
    assert chunk["meta.clip_l14_similarity_score"].tolist() == [0.3, 0.1]
    assert chunk["meta.caption"].tolist() == chunk["meta.text"].tolist() == ["one", None]


def test_row_numbers_in_the_place_of_uids_give_way(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    for name, uid in (("a", ["0", "1"]), ("b", [None, "a" * 31])):
        pq.write_table(
            pa.table({"uid": uid, "url": ["x", "y"], "text": [name, name]}), tmp_path / f"metadata/{name}.parquet"
        )
    found = [uid for chunk in PoolColumns(Store(tmp_path), tables(tmp_path)).chunks([]) for uid in to_hex(chunk.uids)]
    assert found == [make_uid(url, text) for text in "ab" for url in "xy"]


def test_columns_of_other_samples_are_refused(tmp_path: Path) -> None:
    rows = pool(tmp_path, (5, 5))
    name = tmp_path / column_path("ok", "00001")
    whole = pq.read_table(name)
    short, turned = whole.slice(0, 4), whole.take(list(reversed(range(5))))
    other = whole.set_column(0, "uid", pa.array(["no uid"] * 5))
    for wrong in (short, turned, other):
        pq.write_table(wrong, name)
        columns = PoolColumns(Store(tmp_path), tables(tmp_path), 2)
        with pytest.raises(
            UserError, match=r"columns/ok/00001.parquet' holds other samples than 'shards/00001.parquet'"
        ):
            list(columns.chunks(["ok.reliable"]))
        assert sum(chunk.num_samples for chunk in columns.chunks(["clip.similarity"])) == len(rows)


def test_a_column_that_one_table_lacks_is_named(tmp_path: Path) -> None:
    pool(tmp_path, (2, 2))
    name = tmp_path / "shards/00001.parquet"
    pq.write_table(pq.read_table(name).drop_columns("original_width"), name)
    columns = PoolColumns(Store(tmp_path), tables(tmp_path))
    with pytest.raises(UserError, match=r"'shards/00001.parquet' has no column 'original_width'"):
        list(columns.chunks(["meta.original_width"]))


def test_nothing_but_the_columns_named_is_read(tmp_path: Path) -> None:
    pool(tmp_path, (4,))
    (tmp_path / column_path("ok", "00000")).write_bytes(b"no parquet")
    columns = PoolColumns(Store(tmp_path), tables(tmp_path))
    assert [chunk.num_samples for chunk in columns.chunks(["clip.similarity"])] == [4]
    with pytest.raises(pa.ArrowInvalid):
        list(columns.chunks(["ok.reliable"]))


def test_duplicates_among_many(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**64, (5000, 2), dtype=np.uint64)[rng.integers(0, 5000, 20_000)]
    uids = to_arrow(words.view("u8,u8")[:, 0])
    (tmp_path / "metadata").mkdir()
    for part in range(4):
        pq.write_table(
            pa.table({"uid": uids[5000 * part :][:5000]}), tmp_path / f"metadata/{part}.parquet", row_group_size=700
        )
    columns = PoolColumns(Store(tmp_path), [PoolTable(str(p), f"metadata/{p}.parquet", "") for p in range(4)], 1000)
    seen, again = set(), []
    for uid in uids.to_pylist():
        again.append(uid in seen)
        seen.add(uid)
    assert np.concatenate([part.again for part in rows_of(columns)]).tolist() == again
