import os
from pathlib import Path

import pytest

from winnow.errors import UserError
from winnow.journal import Journal, Row
from winnow.storage import Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "root" if request.param == "local" else f"memory://{tmp_path.name}-{request.node.name}")


def test_files_round_trip(store: Store) -> None:
    store.write("a/b.json", b"{}")
    store.write("a/c.txt", b"hi")
    assert store.read("a/b.json") == b"{}"
    assert store.list("a") == ["a/b.json", "a/c.txt"]
    assert store.list("a", ".json") == ["a/b.json"]
    assert store.list("nowhere") == []
    assert (store.size("a/c.txt"), store.size("a/none")) == (2, None)
    store.remove("a/c.txt")
    store.remove("a/c.txt")
    assert not store.exists("a/c.txt")


def test_an_attempt_that_fails_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.attempt() as folder:
            (folder / "half").write_bytes(b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.list("") == []


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """A commit replaces: who has the old file open keeps the old one, whole."""
    store = Store(tmp_path)
    store.write("x", b"old")
    with open(store.path("x"), "rb") as reader:
        store.write("x", b"newer")
        assert reader.read() == b"old"
    assert store.read("x") == b"newer"


def test_one_driver_at_a_time_and_killed_attempts_are_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    os.makedirs(tmp_path / "_attempts" / "dead")
    with store.exclusive():
        assert not (tmp_path / "_attempts").exists()
        with pytest.raises(UserError, match="another winnow command is writing"), Store(tmp_path).exclusive():
            pass
    with store.exclusive():
        pass


def test_journal_survives_reopening(store: Store) -> None:
    journal = Journal(store)
    store.write("f.bin", b"12345")
    row = Row(product="score/clip/00001", key="k1", files={"f.bin": (5, "ab" * 32)}, counts={"samples": 3}, seconds=1.5)
    journal.append(row)
    again = Journal(store)
    assert again.rows == {row.product: row}
    assert again.done("score/clip/00001", "k1")
    assert not again.done("score/clip/00001", "k2"), "another config or input: stale"
    assert not again.done("score/clip/00002", "k1")
    assert again.under("score/") == [row]
    store.write("f.bin", b"1234")
    assert not again.done("score/clip/00001", "k1"), "the file is not what the journal vouches for"


def test_journal_forgets(store: Store) -> None:
    journal = Journal(store)
    journal.append(Row(product="a/b", key="k", files={}))
    journal.forget("a/b")
    journal.forget("a/b")
    assert Journal(store).rows == {}


def test_fingerprint_depends_on_content_alone() -> None:
    first = Row(product="p", key="k1", files={"x": (1, "a" * 64), "y": (2, "b" * 64)}, seconds=1)
    second = Row(product="p", key="k2", files={"y": (2, "b" * 64), "x": (1, "a" * 64)}, seconds=2)
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != Row(product="p", key="k1", files={"x": (1, "c" * 64)}).fingerprint()


def test_names_are_told_with_their_scheme(tmp_path: Path) -> None:
    assert Store("memory://pool/").where("shards/00000.tar") == "memory://pool/shards/00000.tar"
    assert Store("memory://pool").where("") == "memory://pool"
    assert Store(tmp_path).where("shards/00000.tar") == str(tmp_path / "shards/00000.tar")
