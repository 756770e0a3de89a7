"""Workers go from stage to stage of a run: the same processes, unless one has died or the next stage wants others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RunConfig
from pipeline.engine.crew import Crew
from pipeline.runner import run_stage

Make = Callable[..., RunConfig]
EXECUTORS = ["process", pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.timeout(300)])]


def pids(config: RunConfig, **fields: Any) -> set[int]:
    """Run the stage and return the processes that its units were in."""
    stage = config.stages["squares"]
    config.stages["squares"] = stage.model_copy(update={"faults": dict.fromkeys(range(1, 7), "pid"), **fields})
    return {int(error) for error in run_stage(config, "squares").quarantined.values()}


def alive(pid: int) -> bool:
    """Tell whether a process still is there, a zombie not counted; one that is ending has ten seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("use", EXECUTORS)
def test_workers_live_through_the_stages(squares: Make, use: str) -> None:
    config = squares({"use": use, "workers": 2, "attempts": 1}, numbers=range(1, 7))
    with config.executor.keep_workers():
        first = pids(config)
        second = pids(config, power=3)
        assert first & second
        assert len(first | second) <= 2
        os.kill(next(iter(second)), signal.SIGKILL)
        third = pids(config, power=4)
        assert third
        assert not any(pid in third for pid in first | second if not Path(f"/proc/{pid}").exists())
    assert not any(alive(pid) for pid in first | second | third)
    assert pids(config, power=5).isdisjoint(first | second | third)


@pytest.mark.parametrize("use", EXECUTORS)
def test_a_kept_worker_makes_what_a_new_one_makes(squares: Make, use: str) -> None:
    config = squares({"use": use, "workers": 2}, numbers=range(1, 7))
    out = Path(config.values["run_dir"]) / "out"
    with config.executor.keep_workers():
        for power in (2, 3):  # the second stage, not what a worker remembers of the first
            config.stages["squares"] = config.stages["squares"].model_copy(update={"power": power})
            assert run_stage(config, "squares").done == 6
            assert {int(path.stem): int(path.read_text()) for path in out.iterdir()} == {
                n: n**power for n in range(1, 7)
            }


def test_a_stage_of_other_workers_gets_new_ones_and_the_old_ones_end(squares: Make) -> None:
    executor = {"use": "process", "workers": 1, "attempts": 1}
    config = squares(executor, numbers=(1,))
    with config.executor.keep_workers():
        first = pids(config)
        config.executor.per_stage["squares"] = {"workers": len(os.sched_getaffinity(0)) * 2}  # fewer threads for each
        assert pids(config, power=3).isdisjoint(first) or len(os.sched_getaffinity(0)) == 1


def test_crew_keeps_what_fits_and_ends_the_rest() -> None:
    ended: list[str] = []
    with Crew(ended.append).open() as crew:
        assert crew.take("a", 3) == []
        crew.leave("a", ["x", "y", "z"])
        assert (crew.take("a", 2), ended) == (["x", "y"], ["z"])
        crew.leave("a", ["x", "y"])
        assert (crew.take("b", 2), ended) == ([], ["z", "x", "y"])
        crew.leave("b", ["v"])
    assert ended == ["z", "x", "y", "v"]


@pytest.mark.parametrize(("threads", "stays"), [("1", "True 1"), ("", "False 2")])
def test_a_worker_with_torch_stays_with_the_threads_it_started_with(threads: str, stays: str) -> None:
    """Else the last bits of a stage's sums would depend on the stage before."""
    script = (
        "import torch; torch.set_num_threads(2); from pipeline.engine.crew import leave_stage; "
        "print(leave_stage(), torch.get_num_threads())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"OMP_NUM_THREADS": threads} if threads else {}
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == stays
