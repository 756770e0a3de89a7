"""JSON that came with a tar or lies in a journal: what it cannot say is missing, and nothing it says becomes a path."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hostile import Packed, bounded, damaged, fuzz, little_memory
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pools.index import index
from pipeline.pools.samples import decoded_batches
from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.pool import pool_shards, read_columns, read_table
from winnow.shards import Sample, ShardWriter
from winnow.storage import Store
from winnow.uid import from_hex

KEYS = st.sampled_from(["uid", "url", "caption", "key", "status", "width", "exif", "../x", "", "a\0b", "\ud800", "ü"])
SCALARS = st.one_of(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    st.sampled_from([0, -1, 2**63, -(2**70), 10**30, 1e400, "\ud800", "\udfff\ud800", "a\0b", "http://a.test/\udc80"]),
    st.sampled_from(["0" * 32, "f" * 32, "0" * 31 + "G", "../../../etc/passwd", "http://a.test/1", "x" * 5000]),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


def encoded(value: object, ascii: bool, encoding: str) -> bytes:
    return json.dumps(value, ensure_ascii=ascii).encode(encoding, "surrogatepass")


ENCODINGS = st.sampled_from(["utf-8"] * 6 + ["utf-16", "utf-32-le", "utf-8-sig"])
WRITTEN = st.builds(encoded, OBJECTS | VALUES, st.booleans(), ENCODINGS)
ODD = st.sampled_from(
    [
        *(b"", b"{", b"\0", b"null", b"1e5", b"[" * 100_000, b'{"a":' * 100_000, b'{"uid": ' + b"9" * 5000 + b"}"),
        *(b'{"url": "\\ud800"}', b'{"url": "\xed\xa0\x80"}', b'{"uid": "\xff"}', b"\xff\xfe{\0}\0", b'"\\ud800"'),
        *(
            b'{"a": 1, "a": [1]}',
            b'{"url": "a", "url": {"b": []}}',
            b'{"width": "x"}',
            b'{"width": 1e999}',
            b'{"": ""}',
        ),
        b'{"a": NaN, "b": -Infinity}',
    ]
)
SIDECARS = WRITTEN | ODD | damaged(WRITTEN, 4)
CASES = st.lists(SIDECARS, min_size=1, max_size=3).map(lambda each: [Packed(data) for data in each])


def pool_of(folder: Path, sidecars: list[bytes]) -> Store:
    """Write a tar of samples with these sidecars into the empty folder `pool`."""
    shutil.rmtree(folder / "pool", ignore_errors=True)
    (folder / "pool").mkdir()
    with (folder / "pool/00000.tar").open("wb") as file:
        writer = ShardWriter(file)
        for number, sidecar in enumerate(sidecars):
            writer.write(f"{number:09d}", {"txt": b"wheat \xff", "json": sidecar})
        writer.close()
    return Store(folder / "pool")


def check(folder: Path, sidecars: list[bytes]) -> None:
    pool = pool_of(folder, sidecars)
    for sidecar in sidecars:
        meta = Sample("a", {"json": sidecar}).meta
        json.dumps(meta, ensure_ascii=False).encode()  # no half of a surrogate pair in it
    assert [(made.name, made.num_rows) for made in index(pool)] == [("00000.parquet", len(sidecars))]
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert names == {"pool", "pool/00000.tar", "pool/00000.parquet", "pool/_attempts"}
    (shard,) = pool_shards(pool)
    assert read_table(pool, shard).num_rows == len(sidecars)
    _, uids = read_columns(pool, shard, ["url", "caption"])
    (batch,) = list(decoded_batches(pool, shard.tar, batch_size=8, threads=1, images=False))[:1]
    assert from_hex([sample.uid for sample in batch]).tolist() == uids.tolist()  # tar and table name samples alike


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pool")


@bounded(60)
@given(CASES)
def test_a_hostile_sidecar_is_read_as_far_as_it_can_be_and_the_table_agrees(folder, sidecars):
    check(folder, sidecars)


@pytest.mark.parametrize(
    ("sidecar", "meta"),
    [
        (b"[" * 100_000, {}),
        (b'{"a": ' * 100_000, {}),
        (b'{"a": ' * 65 + b"1" + b"}" * 65, {}),
        (b'{"uid": ' + b"9" * 5000 + b"}", {}),
        (b'{"a": "' + b"x" * 11 * 2**20 + b'"}', {}),
        (b'{"url": "http://a/\\ud800"}', {"url": "http://a/\ufffd"}),
        (b'{"\\udc00": "\xed\xa0\x80"}', {"\ufffd": "\ufffd"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a": "\ud800"}'.encode("utf-16", "surrogatepass"), {"a": "\ufffd"}),
    ],
    ids=range(9),
)
def test_sidecars_beyond_measure_are_none_and_halves_of_characters_are_replaced(sidecar, meta):
    assert Sample("a", {"json": sidecar}).meta == meta


@pytest.mark.parametrize("value", ["1" * 32, str(2**70), "{}", "[{}]", '"\\ud800"', "[1, {}]"])
@pytest.mark.parametrize("name", ["uid", "url", "other"])
def test_odd_values_make_a_table_that_names_samples_as_the_tar_does(folder, name, value):
    check(folder, [f'{{"{name}": {value}}}'.encode(), b'{"url": "http://a.test/1", "other": 1}'])


FILES = {"shards/00000.tar": [3, "a"]}
ROW = {"product": "download/00000", "key": "k", "files": FILES, "counts": {"a": 1}, "seconds": 1}
NAMES = st.sampled_from(["../../victim", "/etc/passwd", "a/../../b", "shards/00000.tar", "..", "a\0b", "", "x" * 300])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "product": NAMES | VALUES,
        "key": VALUES,
        "files": st.dictionaries(NAMES, st.tuples(VALUES, VALUES) | VALUES, max_size=3) | VALUES,
        "counts": st.dictionaries(KEYS, VALUES, max_size=2) | VALUES,
        "seconds": VALUES,
        "forgotten": VALUES,
        "more": VALUES,
    },
)
DAMAGED_ROWS = damaged(st.just(encoded(ROW, True, "utf-8")))
ROWS = (FIELDS.map(lambda fields: encoded({**ROW, **fields}, True, "utf-8")) | DAMAGED_ROWS | ODD).map(Packed)


def check_journal(folder: Path, rows: list[bytes]) -> None:
    shutil.rmtree(folder / "pool", ignore_errors=True)
    (folder / "pool/journal/snapshots").mkdir(parents=True, exist_ok=True)
    (folder / "victim").write_text("not ours")
    (folder / "pool/journal/snapshots/00000001.jsonl").write_bytes(b"\n".join(rows[1:]))
    (folder / "pool/journal/a.json").write_bytes(rows[0])
    store = Store(folder / "pool")
    journal = Journal(store)
    for product, row in list(journal.rows.items()):
        assert isinstance(product, str)
        assert all(Path(store.path(name)).is_relative_to(folder / "pool") for name in row.files)
        journal.done(product, row.key)
    with suppress(UserError):
        pool_shards(store)
    for product in list(journal.rows):
        journal.forget(product)
    journal.compact()
    assert {path.name for path in folder.iterdir()} == {"pool", "victim"}


@bounded(40)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_a_hostile_journal_reaches_nothing_outside_its_folder(tmp_path_factory, rows):
    check_journal(tmp_path_factory.getbasetemp() / "journals", rows)


def test_names_that_lead_out_of_a_store_are_refused(tmp_path):
    store = Store(tmp_path / "pool")
    store.write("a..b/c...tar", b"x")
    for name in ("../a", "a/../../b", "/etc/passwd", "..", "a/..", "a\0b"):
        with pytest.raises(UserError, match="leads out of"):
            store.read(name)
        with pytest.raises(UserError, match="leads out of"):
            store.write(name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["pool"]


def test_a_row_without_a_tar_and_a_snapshot_without_a_number_are_told(tmp_path):
    store = Store(tmp_path)
    store.write("journal/snapshots/latest.jsonl", b"{}")
    Journal(store).append(Row(product="download/00000", key="k", files={}))
    with pytest.raises(UserError, match="names no tar"):
        pool_shards(store)


@pytest.mark.slow
def test_hostile_sidecars_for_long(folder):
    with little_memory(300):
        fuzz(lambda sidecars: check(folder, sidecars), CASES)


@pytest.mark.slow
def test_hostile_journals_for_long(folder):
    fuzz(lambda rows: check_journal(folder / "journals", rows), st.lists(ROWS, min_size=1, max_size=3))
