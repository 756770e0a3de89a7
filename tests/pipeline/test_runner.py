from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RunConfig
from pipeline.runner import run_stage
from winnow.journal import Journal

Make = Callable[..., RunConfig]


def outputs(config: RunConfig) -> dict[str, str]:
    folder = Path(config.values["run_dir"]) / "out"
    return {path.name: path.read_text() for path in sorted(folder.glob("*"))}


def clean(config: RunConfig) -> None:
    """Nothing half-written is left under any name."""
    attempts = Path(config.values["run_dir"]) / "_attempts"
    assert not attempts.exists() or not any(attempts.iterdir())


@pytest.mark.parametrize("executor", [{"use": "inline"}, {"use": "process", "workers": 2}])
def test_runs_then_skips(squares: Make, executor: dict[str, Any]) -> None:
    config = squares(executor)
    summary = run_stage(config, "squares")
    assert (summary.done, summary.skipped, summary.quarantined) == (5, 0, {})
    assert outputs(config) == {f"{n}.txt": str(n * n) for n in range(1, 6)}
    again = run_stage(config, "squares")
    assert (again.done, again.skipped) == (0, 5)
    clean(config)


def test_reruns_exactly_what_changed(squares: Make) -> None:
    run_stage(squares({"use": "inline"}), "squares")
    more = squares({"use": "inline"}, numbers=[4, 5, 6])
    summary = run_stage(more, "squares")
    assert (summary.done, summary.skipped) == (1, 2)
    assert set(Journal(more.run_store).rows) == {f"squares/{n}" for n in (4, 5, 6)}, "what is not planned is retired"
    cubes = squares({"use": "inline"}, numbers=[4, 5, 6], power=3)
    assert run_stage(cubes, "squares").done == 3
    assert outputs(cubes)["6.txt"] == "216"


@pytest.mark.parametrize("fault", ["raise once", "die once"])
def test_retries_what_fails_once(squares: Make, fault: str) -> None:
    config = squares({"use": "process", "workers": 2}, faults={2: fault})
    summary = run_stage(config, "squares")
    assert (summary.done, summary.quarantined) == (5, {})
    assert outputs(config)["2.txt"] == "4"


@pytest.mark.parametrize(("fault", "words"), [("raise", "number 3 is broken"), ("die", "process died")])
def test_quarantines_what_always_fails(squares: Make, fault: str, words: str) -> None:
    config = squares({"use": "process", "workers": 2, "attempts": 2}, faults={3: fault})
    summary = run_stage(config, "squares")
    assert summary.done == 4, "the others are not harmed"
    assert words in summary.quarantined["3"]
    assert "3.txt" not in outputs(config)
    note = (Path(config.values["run_dir"]) / "quarantine" / "squares~3.txt").read_text()
    assert words in note
    assert "after 2 attempts" in note
    mended = squares({"use": "inline"})
    assert run_stage(mended, "squares").done == 1, "mend the cause, repeat the command"


def test_a_users_mistake_is_not_retried(squares: Make) -> None:
    config = squares({"use": "inline"}, faults={1: "user"})
    summary = run_stage(config, "squares")
    assert summary.quarantined == {"1": "number 1 is not allowed"}
    assert "after 1 attempts" in (Path(config.values["run_dir"]) / "quarantine" / "squares~1.txt").read_text()


def test_summary_line_counts_and_rates(squares: Make) -> None:
    config = squares({"use": "inline"}, faults={3: "user"})
    line = run_stage(config, "squares").line()
    assert "4 units" in line
    assert "12 samples at" in line
    assert "1 quarantined" in line


def test_a_failed_rerun_does_not_leave_a_stale_row(squares: Make) -> None:
    """Once a unit is handed out its old files may be replaced, so its old row must be gone before."""
    run_stage(squares({"use": "inline"}), "squares")
    broken = squares({"use": "inline", "attempts": 1}, power=3, faults={2: "raise"})
    run_stage(broken, "squares")
    assert "squares/2" not in Journal(broken.run_store).rows


def test_ray_runs_retries_and_survives_a_killed_actor(squares: Make) -> None:
    import ray

    config = squares({"use": "ray", "workers": 2, "attempts": 2}, faults={2: "die once", 4: "raise", 5: "raise once"})
    try:
        summary = run_stage(config, "squares")
    finally:
        ray.shutdown()
    assert summary.done == 4
    assert list(summary.quarantined) == ["4"]
    assert outputs(config) == {f"{n}.txt": str(n * n) for n in (1, 2, 3, 5)}
    clean(config)
