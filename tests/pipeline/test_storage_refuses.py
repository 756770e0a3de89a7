"""What is wrong with object storage from the start is one line that names URL, cause and remedy."""

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from object_store import Line, bucket_behind
from small_run import write_config

from pipeline.cli import main
from pipeline.config import RunConfig
from pipeline.runner import run_stage
from winnow import patience
from winnow.errors import StorageError
from winnow.storage import Store

INLINE = {"use": "inline"}
COMMANDS = [["run"], ["run", "--dry-run"], ["status"], ["score"]]
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Line]]:
    """A bucket, and the line to it; no credentials but those of the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with bucket_behind(monkeypatch) as found:
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        patience.Storage().apply()
        yield found


def error_of(path: Path, command: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command and return all that it says, one line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["winnow", command[0], str(path), *command[1:]])
        with pytest.raises(SystemExit) as ended:
            main()
    out, err = capsys.readouterr()
    assert ended.value.code == code
    lines = [line for line in out.splitlines() if line]
    assert len(lines) == 1, out
    assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    return lines[0]


@contextmanager
def signatures_checked() -> Iterator[None]:
    """Have moto check who asks, as S3 does; it knows nobody."""
    url, plain = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    check, trust = (urllib.request.Request(url, count, plain, method="POST") for count in (b"0", b"inf"))
    urllib.request.urlopen(check).close()
    try:
        yield
    finally:
        urllib.request.urlopen(trust).close()


def test_what_is_known_at_start_is_said_within_ten_seconds() -> None:
    assert patience.CONNECT < patience.FIRST < 10


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_credentials(
    command: list[str], away: tuple[str, Line], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket, _ = away
    path = write_config(tmp_path, f"{bucket}/pool", f"{bucket}/run", INLINE)
    for key in KEYS:
        del os.environ[key]
    text = error_of(path, command, 2, capsys)
    assert f"cannot use {bucket}/" in text
    assert "Unable to locate credentials" in text
    assert "AWS_ACCESS_KEY_ID" in text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_wrong_credentials(
    command: list[str], away: tuple[str, Line], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket, _ = away
    path = write_config(tmp_path, f"{bucket}/pool", f"{bucket}/run", INLINE)
    with signatures_checked():
        text = error_of(path, command, 2, capsys)
    assert f"cannot use {bucket}/" in text
    assert "credentials" in text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_missing_bucket(
    command: list[str], away: tuple[str, Line], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, "s3://winnow-of-nobody/pool", "s3://winnow-of-nobody/run", INLINE)
    text = error_of(path, command, 2, capsys)
    assert "cannot use s3://winnow-of-nobody/" in text
    assert "there is no such bucket" in text
    assert "Make the bucket" in text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_service_that_is_down(
    how: str,
    command: list[str],
    away: tuple[str, Line],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "FIRST", 2.5 if how == "refused" else 0.5)
    bucket, line = away
    path = write_config(tmp_path, f"{bucket}/pool", f"{bucket}/run", INLINE)
    if how == "refused":
        line.cut()
        text = error_of(path, command, 1, capsys)
        assert "Could not connect to the endpoint URL" in text
        line.restore()
    else:
        with line.held():
            text = error_of(path, command, 1, capsys)
    assert f"no answer from {bucket}/" in text
    assert "See that the service runs and its address is right" in text


def test_a_second_driver(away: tuple[str, Line], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another machine's command holds the pool; `--take-over` says that it is gone."""
    bucket, _ = away
    path = write_config(tmp_path, f"{bucket}/pool", f"{bucket}/run", INLINE)
    pool = Store(f"{bucket}/pool")
    pool.write("_lease.json", b'{"id": "x", "owner": "elsewhere:12", "since": "noon", "machine": "elsewhere"}')
    text = error_of(path, ["ingest"], 2, capsys)
    assert f"another winnow command is writing to {bucket}/pool: elsewhere:12 since noon" in text
    assert "--take-over" in text
    assert not pool.exists("metadata")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["winnow", "ingest", str(path), "--take-over"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    assert "was written to by elsewhere:12 since noon: taken over" in capsys.readouterr().out
    assert pool.list("metadata", ".parquet")
    assert not pool.exists("_lease.json")


@pytest.mark.parametrize("executor", ["process", pytest.param("ray", marks=pytest.mark.slow)])
def test_workers_without_credentials(executor: str, away: tuple[str, Line], tmp_path: Path) -> None:
    """The driver has logged in already; its workers come later. One line names the machine, and no unit is at fault."""
    bucket, _ = away
    config = RunConfig(write_config(tmp_path, f"{bucket}/pool", f"{bucket}/run", {"use": executor}))
    config.save()
    for key in KEYS:
        del os.environ[key]
    with pytest.raises(StorageError, match=r"Unable to locate credentials.*said on") as caught:
        run_stage(config, "ingest")
    assert not caught.value.transient
    assert not config.run_store.list("quarantine")
