"""What the driver costs per unit, measured on thousands that hardly do anything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import resource, sys
from pathlib import Path
from noop import Noop
from pipeline.config import RunConfig
from pipeline.runner import run_stage
from winnow.component import build

folder, n = Path(sys.argv[1]), int(sys.argv[2])
(folder / "config.yaml").write_text(f"pool: {folder}/pool\\nrun_dir: {folder}/run\\n")
config = RunConfig(folder / "config.yaml")
config.executor = build("pipeline.engine.executors", {}, "inline", "executor")
config.stages["noop"] = Noop(pool=f"{folder}/pool", run_dir=f"{folder}/run", n=n)
assert run_stage(config, "noop").done == n
assert run_stage(config, "noop").skipped == n
print("KiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(folder: Path, units: int) -> int:
    """Return the peak memory in bytes of a driver that runs so many units and plans them again."""
    folder.mkdir()
    path = f"{ROOT}:{ROOT / 'tests/support'}"
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder), str(units)], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return 1024 * int(done.stdout.rpartition("KiB")[2])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_drivers_memory_grows_by_a_few_kilobytes_a_unit(tmp_path: Path) -> None:
    few, many = 1000, 11_000
    growth = (peak(tmp_path / "many", many) - peak(tmp_path / "few", few)) / (many - few)
    assert growth < 5000
    journal = tmp_path / "many/run/journal"
    assert len(list(journal.glob("*.json"))) <= 1024
    assert len(list(journal.glob("snapshots/*"))) == 1
