"""The data stages on other kinds of storage leave what they leave on a local disk, to the byte."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import STAGES, products, write_config

from pipeline.config import RunConfig
from pipeline.runner import run_stage
from winnow.storage import Store

ROOT = Path(__file__).parents[2]


def run(path: Path) -> tuple[Store, Store]:
    """Run the data stages and return pool and run folder."""
    config = RunConfig(path)
    for stage in STAGES:
        assert not run_stage(config, stage).quarantined
    return Store(config.values["pool"]), config.run_store


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("local")
    path = write_config(folder, str(folder / "pool"), str(folder / "run"), {"use": "inline"})
    found = products(*run(path))
    assert len(found) > 30
    return found


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_fsspec_urls(kind: str, tmp_path: Path, local: dict[str, str]) -> None:
    root = f"memory://{uuid.uuid4().hex}" if kind == "memory" else f"file://{tmp_path}"
    path = write_config(tmp_path, f"{root}/pool", f"{root}/run", {"use": "inline"})
    assert products(*run(path)) == local
    assert [run_stage(RunConfig(path), stage).done for stage in STAGES] == [0] * len(STAGES), "nothing to do again"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start an S3-compatible server on loopback and make a bucket; its address and keys lie in the environment."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"winnow-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_s3_end_to_end(bucket: str, tmp_path: Path, local: dict[str, str]) -> None:
    """The command in a process of its own, workers in theirs, pool and run on S3; then again, and with a loss."""
    path = write_config(tmp_path, f"{bucket}/pool", f"{bucket}/run", {"use": "process", "workers": 2})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "pipeline", "run", str(path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pool, run_store = Store(f"{bucket}/pool"), Store(f"{bucket}/run")
    assert products(pool, run_store) == local
    assert not pool.exists("_attempts")
    assert not list(tmp_path.glob("winnow-spool-*")), "nothing stays behind in the folder for uploads"

    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.stdout.count("nothing to do") == len(STAGES), again.stdout + again.stderr

    lost = next(name for name in pool.list("columns/image_stats"))
    pool.remove(lost)
    mended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert mended.returncode == 0
    assert products(pool, run_store) == local, "an object that is gone is made again"


def test_spool_folders_of_killed_processes_are_swept(tmp_path: Path) -> None:
    """A process that is killed leaves its folder; the next one removes it, and not that of one that lives."""
    code = (
        "import sys, time, os, signal\nfrom winnow.storage import Store\n"
        "folder = Store('memory://x').begin()\n(folder / 'big').write_bytes(b'x')\nprint(folder.parent, flush=True)\n"
        "sys.stdin.read(1) or os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}

    def start() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    first, first_folder = start()
    assert first.stdin is not None
    first.stdin.close()  # it kills itself
    first.wait()
    assert first_folder.exists()
    second, second_folder = start()
    assert not first_folder.exists()
    third, third_folder = start()
    assert second_folder.exists()
    for process in (second, third):
        process.communicate("x")
    assert not second_folder.exists()
    assert not third_folder.exists()
    assert not list(tmp_path.iterdir())
