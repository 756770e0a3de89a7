import os
import threading
from pathlib import Path

import pytest

import winnow.journal
from winnow.journal import Journal, Row
from winnow.storage import Sizes, Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path / "root" if request.param == "local" else f"memory://{tmp_path.name}-{request.node.name}")


def row(number: int, key: str = "k") -> Row:
    return Row(
        product=f"made/{number:05d}", key=key, files={f"out/{number}": (number, f"{number:064x}")}, counts={"a": 1}
    )


def numbers(journal: Journal) -> list[int]:
    return sorted(int(product.rpartition("/")[2]) for product in journal.rows)


def test_a_snapshot_holds_what_the_row_files_held(store: Store) -> None:
    journal = Journal(store)
    for number in range(5):
        journal.append(row(number))
    journal.compact()
    assert store.list("journal", ".json") == []
    again = Journal(store)
    assert again.rows == {f"made/{number:05d}": row(number) for number in range(5)}
    assert again.under("made/0000") == [row(number) for number in range(5)]


def test_row_files_outrank_the_snapshot(store: Store) -> None:
    journal = Journal(store)
    for number in range(4):
        journal.append(row(number))
    journal.compact()
    journal.forget("made/00001")
    journal.append(row(2, "other"))
    journal.append(row(7))
    for seen in (journal, Journal(store)):
        assert numbers(seen) == [0, 2, 3, 7]
        assert seen.rows["made/00002"].key == "other"
    journal.compact()
    assert numbers(Journal(store)) == [0, 2, 3, 7], "what was forgotten stays so"
    assert len(store.list("journal/snapshots")) == 1
    journal.append(row(1))
    journal.forget("made/00001")
    journal.forget("made/00007")
    assert numbers(Journal(store)) == [0, 2, 3]


def test_rows_are_gathered_as_they_become_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winnow.journal, "LOOSE", 10)
    journal = Journal(store)
    for number in range(100):
        journal.append(row(number))
        assert len(store.list("journal", ".json")) <= max(10, (number + 1) // 4 + 1)
    assert numbers(Journal(store)) == list(range(100))
    journal.tidy()
    assert len(store.list("journal", ".json")) <= 10


@pytest.mark.parametrize("crash_after", range(9))
def test_a_crash_at_any_step_loses_and_revives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_after: int
) -> None:
    """Count the writes and removals of a compaction, and die before each of them in turn."""
    journal = Journal(Store(tmp_path))
    for number in range(4):
        journal.append(row(number))
    journal.compact()
    journal.forget("made/00003")
    journal.append(row(1, "other"))
    journal.append(row(5))
    expected = dict(journal.rows)
    steps = 0

    def dying(real):  # type: ignore[no-untyped-def]
        def step(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal steps
            if steps == crash_after:
                raise KeyboardInterrupt
            steps += 1
            return real(*args, **kwargs)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(journal.store, "write", dying(journal.store.write))
        patch.setattr(journal.store, "remove", dying(journal.store.remove))
        try:
            journal.compact()
            assert crash_after >= 5, "one write, three row files and a snapshot removed"
        except KeyboardInterrupt:
            pass
    again = Journal(Store(tmp_path))
    assert again.rows == expected
    again.append(row(9))
    again.compact()
    assert Journal(Store(tmp_path)).rows == {**expected, "made/00009": row(9)}


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\0" * 64, b"[]", b'{"product": "made/00001"}', b'{"product": 1, "files": 3}']
)
def test_what_a_power_cut_tears_is_not_finished(tmp_path: Path, text: bytes) -> None:
    journal = Journal(Store(tmp_path))
    for number in range(3):
        journal.append(row(number))
    journal.compact()
    journal.append(row(4))
    for number in (1, 4):  # one that the snapshot has an older row of, one that it has not
        (tmp_path / f"journal/made~{number:05d}.json").write_bytes(text)
    again = Journal(Store(tmp_path))
    assert numbers(again) == [0, 2]
    assert set(again.broken) == {"journal/made~00001.json", "journal/made~00004.json"}
    again.append(row(1))
    again.append(row(4))
    assert numbers(Journal(Store(tmp_path))) == [0, 1, 2, 4]
    assert not Journal(Store(tmp_path)).broken


def test_a_torn_row_stays_broken_over_a_compaction(tmp_path: Path) -> None:
    journal = Journal(Store(tmp_path))
    for number in range(3):
        journal.append(row(number))
    journal.compact()
    (tmp_path / "journal/made~00001.json").write_bytes(b"{")
    Journal(Store(tmp_path)).compact()
    assert numbers(Journal(Store(tmp_path))) == [0, 2]


def test_readers_see_every_row_while_the_driver_gathers(tmp_path: Path) -> None:
    journal = Journal(Store(tmp_path))
    for number in range(30):
        journal.append(row(number))
    stop = threading.Event()

    def gather() -> None:
        for turn in range(1000):
            if stop.is_set():
                return
            journal.append(row(100 + turn % 7))
            journal.compact()

    driver = threading.Thread(target=gather)
    driver.start()
    try:
        for _ in range(40):
            assert set(range(30)) <= set(numbers(Journal(Store(tmp_path))))
    finally:
        stop.set()
        driver.join()


def test_sizes_are_those_of_one_listing(store: Store) -> None:
    store.write("out/1", b"x")
    sizes, journal = Sizes(store), Journal(store)
    journal.append(row(1))
    assert journal.done("made/00001", "k", sizes)
    assert not journal.done("made/00001", "other", sizes)
    store.write("out/1", b"xx")
    assert journal.done("made/00001", "k", sizes), "it remembers"
    assert not journal.done("made/00001", "k", Sizes(store))
    assert sizes.of("nowhere/1") is None


def test_row_files_that_cannot_be_written_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(Store(tmp_path))
    journal.append(row(0))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        journal.append(row(1))
    monkeypatch.undo()
    assert numbers(journal) == numbers(Journal(Store(tmp_path))) == [0]
    assert not any((tmp_path / "_attempts").iterdir())
