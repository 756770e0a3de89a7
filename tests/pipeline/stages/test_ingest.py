import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.perform import perform
from pipeline.stages.ingest import Ingest, _Cleaner, _UidSet
from winnow.account import Account
from winnow.errors import UserError
from winnow.uid import from_hex, make_uid


def ingest(folder, table, **fields):
    """Write a table as the source and return (stage, outcome) of ingesting it."""
    pq.write_table(table, folder / "source.parquet")
    stage = Ingest(
        pool=str(folder / "pool"),
        run_dir=str(folder / "run"),
        source={"use": "files", "path": str(folder / "source.parquet")},
        **fields,
    )
    (unit,) = stage.plan()
    return stage, perform(stage, unit)


def rows(folder, name):
    return pq.read_table(folder / "pool" / "metadata" / name).to_pylist()


def test_rows_become_files_of_the_given_length_in_order(tmp_path):
    urls = [f"http://a.test/{index}" for index in range(25)]
    _, outcome = ingest(
        tmp_path, pa.table({"URL": urls, "TEXT": ["x"] * 25, "similarity": [0.5] * 25}), rows_per_file=10
    )
    names = [f"{index:05d}.parquet" for index in range(3)]
    assert list(outcome.rows[0].files) == [f"metadata/{name}" for name in names]
    read = [row for name in names for row in rows(tmp_path, name)]
    assert [row["url"] for row in read] == urls
    assert [row["uid"] for row in read] == [make_uid(url, "x") for url in urls]
    assert read[0]["similarity"] == 0.5
    assert list(read[0])[:6] == ["uid", "url", "text", "original_width", "original_height", "sha256"]


def test_uids_that_come_along_are_kept(tmp_path):
    uid = "0123456789abcdef" * 2
    ingest(
        tmp_path,
        pa.table({"uid": [uid, None, "z" * 32], "url": [f"http://a/{i}" for i in (1, 2, 3)], "text": ["x", "y", "z"]}),
    )
    assert [row["uid"] for row in rows(tmp_path, "00000.parquet")] == [
        uid,
        make_uid("http://a/2", "y"),
        make_uid("http://a/3", "z"),
    ]


def test_duplicates_and_rejects_are_listed_and_counted(tmp_path):
    urls = ["http://a/1", "http://a/1", None, " ", "ftp://a/1", "http://a/1", "HTTPS://a/2"]
    _, outcome = ingest(tmp_path, pa.table({"url": urls, "text": ["x", "x", "x", "x", "x", "other", None]}))
    assert outcome.rows[0].counts == {
        "samples": 3,
        "duplicates": 1,
        "rejected: no url": 2,
        "rejected: not a http url": 1,
    }
    account = Account.of(outcome.rows[0].account)
    assert (account.read, account.kept) == (7, 3)
    assert account.left_out["not a http url"].example == "url 'ftp://a/1', text 'x'"
    assert account.left_out["duplicates"].example == f"uid {make_uid('http://a/1', 'x')}"
    assert [row["url"] for row in rows(tmp_path, "00000.parquet")] == ["http://a/1", "http://a/1", "HTTPS://a/2"]
    assert [row["uid"] for row in rows(tmp_path, "duplicates.parquet")] == [make_uid("http://a/1", "x")]
    assert [row["reason"] for row in rows(tmp_path, "rejected.parquet")] == ["no url", "no url", "not a http url"]


def test_the_key_follows_the_input_and_the_length_of_files_alone(tmp_path):
    table = pa.table({"url": ["http://a/1"], "text": ["x"]})
    stage, _ = ingest(tmp_path, table)
    key = stage.plan()[0].products["ingest/metadata"]
    assert stage.model_copy(update={"run_dir": "elsewhere"}).plan()[0].products["ingest/metadata"] == key
    assert stage.model_copy(update={"rows_per_file": 7}).plan()[0].products["ingest/metadata"] != key
    longer, _ = ingest(tmp_path, pa.concat_tables([table, table]))
    assert longer.plan()[0].products["ingest/metadata"] != key


def test_no_usable_row_is_an_error_of_the_user(tmp_path):
    _, outcome = ingest(tmp_path, pa.table({"url": ["", ""], "text": ["x", "y"]}))
    assert outcome.final
    assert "no usable row" in outcome.error


def test_an_unknown_source_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"'file'.*files.*webnoise"):
        Ingest(pool=str(tmp_path), run_dir=str(tmp_path), source={"use": "file"})


def test_demo_extras_become_products_of_their_own(tmp_path):
    source = {"use": "webnoise", "num_samples": 6, "num_trusted": 3, "num_heldout": 9}
    stage = Ingest(pool=str(tmp_path), run_dir=str(tmp_path), source=source)
    metadata, *extras = stage.plan()
    assert [list(unit.products) for unit in extras] == [["ingest/truth"], ["ingest/trusted"], ["ingest/heldout"]]
    for unit in extras:
        first, again = perform(stage, unit), perform(stage, unit)
        assert first.rows[0].files == again.rows[0].files
    assert (tmp_path / "heldout" / "retrieval" / "dataset_type.txt").read_text().strip() == "retrieval"
    assert not perform(stage, metadata).error
    truth = {row["uid"] for row in pq.read_table(tmp_path / "truth.parquet").to_pylist()}
    assert {row["uid"] for row in pq.read_table(tmp_path / "metadata" / "00000.parquet").to_pylist()} == truth
    assert json.dumps(stage.source) == json.dumps(source)


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=12))
def test_uid_set_tells_first_from_seen(batches):
    known: set[int] = set()
    seen = _UidSet()
    for batch in batches:
        expected = []
        for value in batch:
            expected.append(value not in known)
            known.add(value)
        uids = from_hex(f"{value * 2**120 + value:032x}" for value in batch)
        assert seen.add(uids).tolist() == expected


def test_a_cast_never_changes_a_value(tmp_path):
    """A size that is none is unknown; a carried value that does not fit the column's type is refused by name."""
    nan = float("nan")
    table = pa.table({"url": [f"http://a/{i}" for i in range(4)], "text": ["x"] * 4, "width": [640.0, nan, 3e9, 1.5]})
    _, outcome = ingest(tmp_path, table)
    assert [row["original_width"] for row in rows(tmp_path, "00000.parquet")] == [640, None, None, None]
    assert "original_width" in outcome.rows[0].account["notes"][0]
    for first, later in (
        (pa.array([1], pa.int64()), pa.array([0.31])),
        (pa.array([1], pa.int32()), pa.array([5_000_000_000])),
        (pa.array([0.5], pa.float32()), pa.array([0.31])),
    ):
        clean = _Cleaner()
        clean(pa.table({"url": ["http://a/1"], "text": ["x"], "score": first}))
        with pytest.raises(UserError, match="score"):
            clean(pa.table({"url": ["http://a/2"], "text": ["x"], "score": later}))
