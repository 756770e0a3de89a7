"""Tables from elsewhere: rows, or an error of the user that names the file; never a crash, and no uid made twice."""

import io
import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import Packed, bounded, damaged, fuzz, little_memory
from hypothesis import given
from hypothesis import strategies as st

from pipeline.download.rows import samples_per_shard
from pipeline.sources.files import Files
from pipeline.stages.ingest import Ingest
from winnow.errors import UserError
from winnow.pool import pool_shards, read_columns, read_table
from winnow.shards import ShardWriter
from winnow.storage import Store
from winnow.tables import readable

TEXTS = st.sampled_from(
    ["http://a.test/1", "http://a.test/2", "ftp://a/", " ", "", "f" * 32, "0" * 32, "\0", "ü", "../../x"]
)
CELLS = {
    pa.string(): TEXTS,
    pa.large_string(): TEXTS,
    pa.string_view(): TEXTS,
    pa.binary(): st.sampled_from([b"http://a.test/3", b"\xff\xfe", b"", b"\xed\xa0\x80"]),
    pa.dictionary(pa.int8(), pa.string()): TEXTS,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.sampled_from([0, 2**64 - 1]),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.null(): st.none(),
    pa.list_(pa.string()): st.lists(TEXTS, max_size=2),
    pa.struct([("a", pa.int8())]): st.fixed_dictionaries({"a": st.integers(0, 9)}),
    pa.timestamp("ns"): st.integers(-(2**63), 2**63 - 1),
    pa.decimal128(38, 3): st.decimals(-100, 100, places=3),
}
USUAL = {"url": pa.string(), "text": pa.string(), "caption": pa.string(), "key": pa.string(), "status": pa.string()}
COLUMNS = [
    "uid",
    "url",
    "text",
    "caption",
    "key",
    "status",
    "width",
    "original_width",
    "sha256",
    "other",
    "URL",
    "../x",
    "",
]


@st.composite
def columns(draw: st.DrawFn, num_rows: int) -> dict[str, pa.Array]:
    """Draw the columns of a table: what we look for is mostly there, and sometimes of another type."""
    found: dict[str, pa.Array] = {}
    for name in [*draw(st.lists(st.sampled_from(COLUMNS), unique=True, max_size=6)), "url", "text", "status"]:
        kind = USUAL.get(name, pa.string()) if draw(st.integers(0, 3)) else draw(st.sampled_from([*CELLS]))
        cells = st.just("success") if name == "status" and draw(st.booleans()) else CELLS[kind]
        if kind not in (pa.string(),) and name == "status":
            cells = CELLS[kind]
        values = draw(st.lists(st.none() | cells, min_size=num_rows, max_size=num_rows))
        found[name] = pa.array(values, kind)
    return found


def invalid(array: pa.Array) -> pa.Array:
    """Return a column of text whose bytes are none."""
    data = pa.array([b"http://\xff\xfe/\xed\xa0\x80"] * len(array), pa.binary())
    return pa.StringArray.from_buffers(len(array), data.buffers()[1], data.buffers()[2])


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Draw a parquet file."""
    num_rows = draw(st.integers(0, 4))
    found = draw(columns(num_rows))
    if num_rows and draw(st.integers(0, 5)) == 0:
        name = draw(st.sampled_from(["uid", "url", "text", "caption", "other"]))
        found[name] = invalid(found["url"])
    noted = draw(st.sampled_from([b"", b"10", b"-1", b"x", b"9" * 5000]))
    metadata = {b"rows_per_file": noted} if noted else None
    buffer = io.BytesIO()
    compression = draw(st.sampled_from(["none", "snappy", "zstd", "gzip"]))
    names = [*found]
    if draw(st.integers(0, 15)) == 0:
        names[0] = draw(st.sampled_from(names))
    pq.write_table(
        pa.table([*found.values()], names).replace_schema_metadata(metadata),
        buffer,
        compression=compression,
        use_dictionary=draw(st.booleans()),
        row_group_size=draw(st.sampled_from([1, 2, 100])),
    )
    return buffer.getvalue()


CASES = (tables() | damaged(tables(), 4)).map(Packed)


def check(folder: Path, data: bytes) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    (folder / "in/0.parquet").write_bytes(data)
    (folder / "attempt").mkdir()
    with suppress(UserError):
        for table in Files(path=str(folder / "in")).tables():
            table.validate(full=True)
        with readable("it"):
            table = pq.ParquetFile(io.BytesIO(data)).read()
        assert samples_per_shard(table) >= table.num_rows
    source = {"use": "files", "path": str(folder / "in")}
    stage = Ingest(pool=str(folder / "pool"), run_dir=str(folder / "run"), source=source)
    with suppress(UserError):
        (unit,) = stage.plan()
        made = stage.run(unit, folder / "attempt")["ingest/metadata"]
        written = pa.concat_tables(pq.read_table(path) for name, path in made.files.items() if name[9].isdigit())
        written.validate(full=True)
        uids = written["uid"].to_pylist()
        assert len(set(uids)) == len(uids)
        assert all(len(uid) == 32 for uid in uids)
    with (folder / "in/0.tar").open("wb") as file:
        writer = ShardWriter(file)
        writer.write("0", {"txt": b"x"})
        writer.close()
    pool = Store(folder / "in")
    (shard,) = pool_shards(pool)
    for read in (lambda: read_table(pool, shard), lambda: read_columns(pool, shard, ["url"])):
        with suppress(UserError):
            read()
    assert {path.name for path in folder.iterdir()} <= {"in", "attempt", "pool", "run"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "tables"


@bounded(80)
@given(CASES)
def test_a_hostile_table_is_rows_or_an_error_of_the_user(folder, data):
    check(folder, data)


def written(arrays: list[pa.Array], names: list[str]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays, names), buffer)
    return buffer.getvalue()


URLS = pa.array(["http://a.test/1", "http://a.test/2"])
REFUSED = {
    "a caption that is no text": (written([URLS, invalid(URLS)], ["url", "text"]), "Invalid UTF8"),
    "a uid that is no text": (written([invalid(URLS), URLS, URLS], ["uid", "url", "text"]), "Invalid UTF8"),
    "two columns of one name": (written([URLS, URLS, URLS], ["url", "text", "url"]), "2 columns 'url'"),
    "a page that is none": (
        written([URLS, URLS], ["url", "text"]).replace(b"http", b"\xff\xff\xff\xff", 1),
        "cannot read",
    ),
    "a footer that is none": (b"PAR1" + b"\xff" * 40 + b"\x28\0\0\0PAR1", "cannot read"),
    "a footer beyond the file": (b"PAR1" + b"\xff\xff\xff\x7fPAR1", "cannot read"),
    "nothing": (b"", "cannot read"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_table_is_an_error_that_names_the_file(folder, what):
    data, words = REFUSED[what]
    check(folder, data)
    with pytest.raises(UserError, match=words) as caught:
        list(Files(path=str(folder / "in")).tables())
    assert "0.parquet" in str(caught.value)


def test_views_of_text_and_dictionaries_are_carried_as_text(folder):
    views, coded = URLS.cast(pa.string_view()), URLS.dictionary_encode()
    check(folder, written([URLS, coded, views], ["url", "text", "other"]))
    table = pq.read_table(folder / "attempt/00000.parquet")
    assert table["text"].to_pylist() == table["other"].to_pylist() == URLS.to_pylist()


def test_a_disk_s_error_is_not_the_user_s():
    for error in (PermissionError(13, "no"), TimeoutError()):
        with pytest.raises(type(error)), readable("a table"):
            raise error


@pytest.mark.slow
def test_hostile_tables_for_long(folder):
    with little_memory(500):
        fuzz(lambda data: check(folder, data), CASES)
