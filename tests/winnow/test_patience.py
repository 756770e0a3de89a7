"""Calls wait for a store that rests, in a real client on a real server behind a line that can be cut."""

import gzip
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_store import Line, bucket_behind

from winnow import patience
from winnow.errors import StorageError, UserError
from winnow.patience import Storage, impatient, reach
from winnow.storage import Store

PACKAGES = ("winnow", "filters", "training", "eval", "pipeline")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Line]]:
    """A bucket, and the line to it; the process has the patience of a worker."""
    with bucket_behind(monkeypatch) as found:
        Storage(retry_for=60).apply(reached=True)
        yield found
        Storage().apply()


def later(line: Line) -> None:
    """Restore the line in a moment."""
    threading.Timer(0.3, line.restore).start()


def test_every_call_waits(away: tuple[str, Line]) -> None:
    bucket, line = away
    store = Store(f"{bucket}/a")
    calls = [
        lambda: store.write("b/one.txt", b"1"),
        lambda: store.read("b/one.txt"),
        lambda: store.exists("b/one.txt"),
        lambda: store.exists("b/two.txt"),
        lambda: store.size("b/one.txt"),
        lambda: store.sizes("b"),
        lambda: store.fs.isdir(store.path("b")),
        lambda: [name.rpartition("/")[2] for name in store.fs.glob(store.path("b/*.txt"))],
        lambda: len(store.fs.find(store.root)),
        lambda: store.remove("b/one.txt"),
    ]
    found = []
    for call in calls:
        line.cut()
        later(line)
        found.append(call())
    assert found == [None, b"1", True, False, 1, {"b/one.txt": 1}, True, ["one.txt"], 1, None]
    assert line.cuts == len(calls)


def test_an_open_file_is_read_on(away: tuple[str, Line]) -> None:
    bucket, line = away
    store = Store(bucket)
    data = bytes(range(256)) * 2**17  # 32 MiB: more than one block of the client
    store.write("big", data)
    with store.open("big") as file:
        head = file.read(1000)
        line.cut()
        later(line)
        file.seek(16 * 2**20)
        tail = file.read()
    assert head == data[:1000]
    assert tail == data[16 * 2**20 :]


def test_arrow_reads_a_table_whose_store_rests(away: tuple[str, Line]) -> None:
    bucket, line = away
    store, buffer = Store(bucket), pa.BufferOutputStream()
    table = pa.table({"n": list(range(100_000)), "s": [f"text {n}" for n in range(100_000)]})
    pq.write_table(table, buffer, row_group_size=1000)
    store.write("t.parquet", buffer.getvalue().to_pybytes())
    with store.open("t.parquet") as handle:
        file = pq.ParquetFile(handle)
        line.cut()
        later(line)
        assert file.read() == table
    with store.open("t.parquet") as handle:
        file = pq.ParquetFile(handle)
        Storage(retry_for=0).apply(reached=True)
        line.cut()
        with pytest.raises(StorageError, match=r"t\.parquet"):
            file.read()
    line.restore()


def test_compressed_files_are_unpacked(away: tuple[str, Line]) -> None:
    bucket, _ = away
    store = Store(bucket)
    store.write("a.csv.gz", gzip.compress(b"a,b\n1,2\n"))
    with store.fs.open(store.path("a.csv.gz"), "rb", compression="infer") as file:
        assert file.read() == b"a,b\n1,2\n"


def test_a_store_that_is_away_is_not_taken_for_an_empty_one(away: tuple[str, Line]) -> None:
    bucket, line = away
    store = Store(f"{bucket}/a")
    store.write("x", b"1")
    line.cut()
    for call in (
        lambda: store.exists("x"),
        lambda: store.fs.isdir(store.root),
        lambda: store.fs.isfile(store.path("x")),
        lambda: store.fs.glob(store.path("*")),
        lambda: store.sizes(""),
        lambda: store.size("x"),
    ):
        with impatient(), pytest.raises(StorageError, match=bucket):
            call()
    line.restore()
    assert store.exists("x")


def test_patience_ends(away: tuple[str, Line]) -> None:
    bucket, line = away
    store = Store(f"{bucket}/a")
    Storage(retry_for=0.5).apply(reached=True)
    line.cut()
    with pytest.raises(StorageError, match="Repeat the command when it answers") as caught:
        store.read("x")
    assert caught.value.transient
    assert not store.answers()
    line.restore()
    assert store.answers()


def test_a_store_that_never_answered_gets_seconds(monkeypatch: pytest.MonkeyPatch, away: tuple[str, Line]) -> None:
    """A service that accepts connections and says nothing, with the client's own time-out of a minute."""
    bucket, line = away
    monkeypatch.setattr(patience, "FIRST", 0.5)
    Storage().apply()
    with line.held(), pytest.raises(StorageError, match="no answer") as caught:
        Store(f"{bucket}/never").exists("x")
    assert caught.value.transient


@pytest.mark.parametrize(("protocol", "extra"), [("gs", "gcs"), ("abfs", "azure")])
def test_a_client_that_is_not_installed_is_named(protocol: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs" if extra == "gcs" else "adlfs", None)
    with pytest.raises(UserError, match=rf"winnow\[{extra}\]"):
        reach(f"{protocol}://bucket/x")


def test_an_unknown_protocol() -> None:
    with pytest.raises(UserError, match="s4://bucket"):
        reach("s4://bucket/x")


def test_pauses_grow_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    fs, path = reach("memory://x")
    Storage(retry_for=1e6).apply(reached=True)
    pauses: list[float] = []
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic))

    def ask() -> str:
        if len(pauses) < 12:
            raise ConnectionResetError
        return "well"

    assert fs._call(path, ask) == "well"
    most = [min(patience.SLEEP * 2**n, patience.LONGEST_SLEEP) for n in range(12)]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, most, strict=True))
    Storage().apply()


def test_every_way_to_a_file_system_is_this_one() -> None:
    """What does not go through `reach` neither waits nor says what is wrong."""
    root = Path(__file__).parents[2]
    files = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    assert len(files) > 100
    calls = re.compile(r"fsspec\.(open|filesystem|core\.url_to_fs|url_to_fs|get_fs_token_paths)|url_to_fs\(")
    found = [str(path.relative_to(root)) for path in files if calls.search(path.read_text(encoding="utf-8"))]
    assert found == ["winnow/patience.py"]
