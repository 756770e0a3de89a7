"""wandb, which timm imports where it is installed, leaves nothing in the temporary directory."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from importing import Importing
from pipeline.config import RunConfig
from pipeline.runner import run_stage
from winnow.component import build

def main():
    folder, executor = sys.argv[1:]
    with open(f"{folder}/run.yaml", "w") as file:
        file.write(f"pool: {folder}/pool\\nrun_dir: {folder}/run\\n")
    config = RunConfig(f"{folder}/run.yaml")
    config.executor = build("pipeline.engine.executors", {"workers": 1}, executor)
    config.stages["importing"] = Importing(pool=f"{folder}/pool", run_dir=f"{folder}/run")
    assert run_stage(config, "importing").done == 1

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("executor", ["process", pytest.param("ray", marks=pytest.mark.slow)])
def test_killed_workers_leave_no_folders_of_wandb(executor: str, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    temporary, script = tmp_path / "tmp", tmp_path / "script.py"
    temporary.mkdir()
    script.write_text(RUN)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests/support"), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(temporary)}
    environment["RAY_TMPDIR"] = tempfile.gettempdir()  # the paths of its sockets must be short
    done = subprocess.run([sys.executable, str(script), str(tmp_path), executor], env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(temporary.rglob("*wandb*"))
    assert (tmp_path / "run/out/timm").read_text()


def test_a_process_that_uses_wandb_keeps_it() -> None:
    pytest.importorskip("wandb")
    code = (
        "import sys, types\n"
        "from winnow.loggers import without_wandb\n"
        "sys.modules['wandb'] = mine = types.ModuleType('wandb')\n"
        "without_wandb()\n"
        "import wandb\n"
        "assert wandb is mine\n"
        "del sys.modules['wandb']\n"
        "without_wandb()\n"
        "import timm\n"
        "assert sys.modules['wandb'] is None"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
