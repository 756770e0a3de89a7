import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from small_run import write_config
from typer.testing import CliRunner

import pipeline.engine.pulse
from pipeline.cli import app
from pipeline.commands.watch import table
from pipeline.config import RunConfig
from pipeline.engine.pulse import Pulse, PulseFile, read_pulse
from pipeline.runner import run_stage
from winnow.storage import Store

Make = Callable[..., RunConfig]


def shown(config: RunConfig) -> tuple[str, bool]:
    console = Console(width=200, record=True)
    found, finished = table(config)
    with console.capture() as capture:
        console.print(found)
    return capture.get(), finished


def test_a_run_is_watched_by_its_files(squares: Make) -> None:
    config = squares({"use": "inline"}, faults={3: "user"})
    config.stages = {"squares": config.stages["squares"]}
    text, finished = shown(config)
    assert "not begun" in text
    run_stage(config, "squares")
    text, finished = shown(config)
    assert "4 / 5" in text
    assert "ended" in text
    assert not finished, "one unit is quarantined"
    run_stage(squares({"use": "inline"}), "squares")
    text, finished = shown(config)
    assert "5 / 5" in text
    assert finished
    run_stage(squares({"use": "inline"}), "squares")
    assert shown(config)[1], "nothing to do is finished too"


def test_rate_and_estimate_are_those_of_the_last_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(pipeline.engine.pulse.time, "monotonic", lambda: clock[0])
    store = Store(tmp_path)
    pulse = Pulse("score", planned=1000)
    file = PulseFile(store, pulse)
    for second in range(1200):  # one unit a second for ten minutes, then one in four seconds
        clock[0] += 1
        pulse.done += second < 600 or second % 4 == 0
        pulse.samples = 10 * pulse.done
        file.beat()
    seen = read_pulse(store, "score")
    assert seen is not None
    assert seen.units_per_second == pytest.approx(0.25, abs=0.01)
    assert seen.samples_per_second == pytest.approx(2.5, abs=0.1)
    assert seen.seconds_left == pytest.approx((1000 - seen.done) / 0.25, rel=0.05)


def test_a_driver_that_fell_silent_is_told(squares: Make) -> None:
    config = squares({"use": "inline"})
    PulseFile(config.run_store, Pulse("squares", planned=7)).beat(now=True)
    assert "running" in shown(config)[0]
    path = Path(config.run_store.path("progress/squares.json"))
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "updated": time.time() - 3600}))
    assert "no sign of its driver" in shown(config)[0]
    path.write_text("{")
    assert "not begun" in shown(config)[0], "half a file is none"


def test_status_follow_ends_with_the_run(tmp_path: Path) -> None:
    path = write_config(tmp_path, str(tmp_path / "pool"), str(tmp_path / "run"), {"use": "inline"})
    config = RunConfig(path)
    for stage in config.stages:
        PulseFile(config.stages[stage].store, Pulse(stage, planned=3, done=3)).end()
    done = CliRunner().invoke(app, ["status", str(path), "--follow"])
    assert done.exit_code == 0
    assert done.output.count("3 / 3") >= 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_prometheus_sees_the_stage(squares: Make) -> None:
    import ray

    config = squares({"use": "ray", "workers": 1, "attempts": 2}, faults={3: "raise"})
    try:
        run_stage(config, "squares")
        port = ray.nodes()[0]["MetricsExportPort"]
        deadline = time.monotonic() + 120
        while True:
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
            lines = {
                line.partition("{")[0]: float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith("ray_winnow_") and 'stage="squares"' in line
            }
            if "ray_winnow_quarantined_units_total" in lines or time.monotonic() > deadline:
                break
            time.sleep(1)
    finally:
        ray.shutdown()
    assert lines["ray_winnow_units_total"] == 4
    assert lines["ray_winnow_samples_total"] == 12
    assert lines["ray_winnow_retries_total"] == 1
    assert lines["ray_winnow_quarantined_units_total"] == 1
    assert lines["ray_winnow_planned"] == 5
    assert lines["ray_winnow_left"] == 0
