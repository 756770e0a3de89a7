"""`winnow subset` against plain arithmetic on counts of uids, and what it says to a mistake."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from filters.subset import hash_uids
from pipeline.cli import app
from winnow.errors import UserError
from winnow.uid import UID

Bag = Counter[tuple[int, int]]


@pytest.fixture
def bags(tmp_path: Path) -> list[Bag]:
    """Three multisets of uids, as DataComp's code writes them: a.npy, b.npy, and c.npy as a bare array."""
    rng = np.random.default_rng(0)
    made: list[Bag] = []
    for name in "abc":
        pairs = [(int(high), int(low)) for high, low in rng.integers(0, 12, (80, 2))] + [(2**64 - 1, 7)]
        array = np.array(pairs, np.dtype("u8,u8"))
        array.sort()
        if name == "c":
            array.tofile(tmp_path / "c.npy")
        else:
            np.save(tmp_path / f"{name}.npy", array)
        made.append(Counter(pairs))
    return made


def call(*arguments: Any) -> str:
    """Run the command in this process; a user's mistake is raised."""
    result = CliRunner().invoke(app, ["subset", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def bag(path: Path) -> Bag:
    array = np.load(path)
    assert array.dtype == UID
    assert array.tolist() == sorted(array.tolist())
    return Counter(array.tolist())


def test_and_or_minus(tmp_path: Path, bags: list[Bag]) -> None:
    a, b, c = bags
    files, out = [tmp_path / f"{name}.npy" for name in "abc"], tmp_path / "new/out.npy"
    said = call("and", *files, "-o", out)
    assert bag(out) == a & b & c
    assert said == f"{(a & b & c).total()}\t{len(a & b & c)}\t{out}\n"
    call("or", *files, "--out", out)
    assert bag(out) == a | b | c
    call("minus", *files, "-o", out)
    assert bag(out) == Counter({uid: n for uid, n in a.items() if uid not in b and uid not in c})
    assert bag(out)
    call("or", files[0], files[1], "-o", files[0])  # in place
    assert bag(files[0]) == a | b
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy", "c.npy", "new"]


def test_sample(tmp_path: Path, bags: list[Bag]) -> None:
    file, out, more = tmp_path / "a.npy", tmp_path / "few.npy", tmp_path / "more.npy"
    distinct = np.array(sorted(bags[0]), UID)
    ranked = distinct[np.argsort(hash_uids(distinct, 3), kind="stable")].tolist()
    call("sample", file, "--size", 20, "--seed", 3, "-o", out)
    assert bag(out) == Counter(ranked[:20])
    call("sample", file, "--fraction", 0.5, "--seed", 3, "-o", more)
    assert bag(more) == Counter(ranked[: len(distinct) // 2])
    for arguments, message in [
        ((), "either --size or --fraction"),
        (("--size", 1, "--fraction", 0.1), "either --size or --fraction"),
        (("--size", 1000), f"cannot draw 1000 of {len(distinct)} distinct uids"),
        (("--size", -1), "cannot draw -1"),
        (("--fraction", 1.5), "share from 0 to 1"),
    ]:
        with pytest.raises(UserError, match=message):
            call("sample", file, "-o", out, *arguments)
    assert bag(out) == Counter(ranked[:20]), "a mistake leaves what was there"


def test_count_and_info(tmp_path: Path, bags: list[Bag], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = bags[:2]
    files = [tmp_path / "a.npy", tmp_path / "b.npy"]
    lines = call("count", *files).splitlines()
    assert lines == [f"{each.total()}\t{len(each)}\t{file}" for each, file in zip((a, b), files, strict=True)]
    monkeypatch.chdir(tmp_path)
    shown = call("info", "a.npy", "b.npy")
    for word in (f"{b.total()}", f"{len(b)}", str(max(b.values())), f"{len(a & b)}", "shared with the first"):
        assert word in shown.replace("\n", " "), word
    np.save("none.npy", np.zeros(0, UID))
    assert "none.npy" in call("info", "none.npy")


def test_object_stores(bags: list[Bag], tmp_path: Path) -> None:
    call("and", tmp_path / "a.npy", tmp_path / "b.npy", "-o", "memory://subsets/both.npy")
    assert call("count", "memory://subsets/both.npy").startswith(f"{(bags[0] & bags[1]).total()}\t")


def test_bad_files_are_explained(tmp_path: Path, bags: list[Bag]) -> None:
    good, bad, out = tmp_path / "a.npy", tmp_path / "bad.npy", tmp_path / "out.npy"
    unsorted = np.array([(2, 0), (1, 0)], UID)
    for content, message in [
        (lambda: np.save(bad, unsorted), "is not sorted by uid"),
        (lambda: np.save(bad, np.arange(4)), "dtype int64"),
        (lambda: bad.write_bytes(b"0" * 17), "neither a .npy file nor rows of 16 bytes"),
        (lambda: bad.write_bytes(b"\x93NUMPY\x01\x00garbage"), "is no subset"),
        (lambda: np.save(bad, np.array([{"a": 1}]), allow_pickle=True), "is no subset"),
        (bad.unlink, "no file"),
    ]:
        content()  # type: ignore[no-untyped-call]
        with pytest.raises(UserError, match=message):
            call("and", good, bad, "-o", out)
    with pytest.raises(UserError, match="at least 2 subset files, not 1"):
        call("or", good, "-o", out)
    with pytest.raises(UserError, match=r"names a \.npy file"):
        call("or", good, good, "-o", tmp_path / "out.txt")
    assert not out.exists()


def test_from_a_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "subset", "info", str(tmp_path / "none.npy")]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 2
    assert "error: no file" in done.stdout + done.stderr
