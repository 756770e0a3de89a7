"""Object storage that goes away and comes back: nothing is lost, and what the user reads is one line."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from object_store import Line, bucket_behind
from small_run import STAGES, products, write_config

from pipeline.config import RunConfig
from pipeline.runner import run_stage
from winnow.storage import Store

ROOT = Path(__file__).parents[2]
INLINE = {"use": "inline"}


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Line]]:
    """A bucket, and the line to it."""
    with bucket_behind(monkeypatch) as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the data stages leave on a local disk."""
    folder = tmp_path_factory.mktemp("local")
    path = write_config(folder, str(folder / "pool"), str(folder / "run"), INLINE)
    config = RunConfig(path)
    for stage in STAGES:
        run_stage(config, stage)
    return products(Store(folder / "pool"), Store(folder / "run"))


PASSING = {
    "download": b"PUT /BUCKET/pool/shards/00001.tar",
    "score": b"PUT /BUCKET/pool/columns/image_stats/00001.parquet",
    "reshard": b"PUT /BUCKET/run/shards/half/00000000.tar",
}
"""Stage -> a request in the middle of it."""


def cut_in(
    stages: Iterable[str], bucket: str, line: Line, seconds: float, tmp_path: Path, executor: dict[str, Any]
) -> None:
    """Run all data stages, with the line cut in the middle of some."""
    stages = set(stages)
    config = RunConfig(write_config(tmp_path, f"{bucket}/pool", f"{bucket}/run", executor))
    for name in STAGES:
        if name in stages:
            line.cut_at(request(name, bucket), seconds)
        summary = run_stage(config, name)
        assert not summary.quarantined
        assert not summary.stopped
    assert line.cuts == len(stages), "each of them was cut"


def request(stage: str, bucket: str) -> bytes:
    """Return the start of a request in the middle of a stage."""
    return PASSING[stage].replace(b"BUCKET", bucket.removeprefix("s3://").encode())


def winnow(path: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the whole loop by the command line."""
    command = [sys.executable, "-m", "pipeline", "run", str(path), *more]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=path.parent, env=variables, capture_output=True, text=True)


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one line by which a command ended."""
    lines = done.stdout.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert done.returncode == code, done.stdout + done.stderr
    assert errors == lines[-1:], done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not done.stderr.strip()
    return errors[0]


def test_a_line_cut_in_the_middle_of_stages_costs_nothing(
    away: tuple[str, Line], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    bucket, line = away
    cut_in(PASSING, bucket, line, 0.5, tmp_path, INLINE)
    assert products(Store(f"{bucket}/pool"), Store(f"{bucket}/run")) == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("executor", ["process", "ray"])
def test_a_line_cut_for_long_under_executors(
    executor: str, away: tuple[str, Line], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    """Twenty seconds: several heartbeats fail, and reads of the other worker do."""
    bucket, line = away
    cut_in(PASSING, bucket, line, 20.0, tmp_path, {"use": executor, "workers": 2})
    assert products(Store(f"{bucket}/pool"), Store(f"{bucket}/run")) == undisturbed


def test_a_store_that_stays_away_ends_the_run_in_one_line_and_the_same_command_goes_on(
    away: tuple[str, Line], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    bucket, line = away
    path = write_config(tmp_path, f"{bucket}/pool", f"{bucket}/run", INLINE)
    line.cut_at(request("score", bucket), -1)
    text = error_of(winnow(path, "storage.retry_for=1"), 1)
    assert f"no answer from {bucket}/pool/columns/image_stats/00001.parquet in" in text
    assert "Repeat the command when it answers" in text
    line.restore()
    again = winnow(path, "storage.retry_for=1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "download   nothing to do" in again.stdout
    assert products(Store(f"{bucket}/pool"), Store(f"{bucket}/run")) == undisturbed
