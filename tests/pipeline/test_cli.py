"""The command line on a tiny pool that is already downloaded: score, select, reshard, look."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from depth_scorer import calls
from tiny_pool import write_pool

from pipeline.config import RunConfig
from pipeline.runner import run_stage

ROOT = Path(__file__).parents[2]
CONFIG = """
pool: {root}/pool
run_dir: {root}/run
executor: {{use: inline}}
score:
  scorers:
    caption_stats: {{}}
    image_stats: {{}}
    depth: {{use: "depth_scorer:DepthScorer"}}
select:
  strategies:
    no_filter: {{}}
    half: {{use: random_subset, fraction: 0.5}}
    long: {{use: clip_score, score: caption_stats.num_chars, threshold: 32}}
reshard: {{samples_per_shard: 4}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_pool(tmp_path / "pool")
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(root=tmp_path))
    return path


def winnow(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user would."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def test_run_look_and_repeat(config: Path, tmp_path: Path) -> None:
    plan = winnow("run", config, "--dry-run")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert not (tmp_path / "run").exists(), "a dry run writes nothing"
    assert "waits for" in plan.stdout

    first = winnow("run", config)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "score      2 units · 10 samples" in first.stdout
    assert {path.name for path in (tmp_path / "run/subsets").iterdir()} == {
        f"{name}.{suffix}" for name in ("no_filter", "half", "long") for suffix in ("npy", "parquet")
    }

    status = winnow("status", config)
    lines = [line.split()[:4] for line in status.stdout.splitlines()[1:] if line.strip()]
    assert [line[0] for line in lines] == ["score", "select", "reshard"]
    assert all(line[1] == line[2] and line[3] == "0" for line in lines), status.stdout

    again = winnow("run", config)
    assert again.stdout.count("nothing to do") == 3


def test_why_tells_a_samples_story(config: Path, tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    assert winnow("run", config).returncode == 0
    kept = winnow("why", uids[0], config).stdout
    for words in (
        uids[0],
        "picture number 0 of a tiny pool",
        "shards/00000.tar",
        "caption_stats.num_chars",
        "no_filter",
    ):
        assert words in kept
    failed = winnow("why", uids[5], config).stdout
    assert "it was not downloaded: HTTP 404" in failed
    missing = winnow("why", "f" * 32, config)
    assert missing.returncode == 2
    assert "no sample of the pool has a uid that starts with" in missing.stdout


def test_changed_override_reruns_what_it_affects(config: Path) -> None:
    assert winnow("run", config).returncode == 0
    changed = winnow("run", config, "select.strategies.half.fraction=0.2").stdout.splitlines()
    assert "score" in changed[0]
    assert "nothing to do" in changed[0]
    assert "1 units (+2 done before)" in changed[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "absent.yaml"], "no config at 'absent.yaml'"),
        (["score", "{config}", "score.scorers.imag_stats={{}}"], "Did you mean 'image_stats'"),
        (["run", "{config}", "selekt.x=1"], "unknown section: 'selekt'. Did you mean 'select'"),
        (["download", "{config}"], "no section `download`"),
        (["list", "scoreres"], "nothing to list under 'scoreres'"),
    ],
)
def test_mistakes_are_one_clear_line_and_exit_code_2(config: Path, arguments: list[str], words: str) -> None:
    done = winnow(*(argument.format(config=config) for argument in arguments))
    assert done.returncode == 2
    assert words in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_four_calls_from_the_command_to_the_line_that_scores_a_batch(config: Path) -> None:
    """The command's own body is the start: run_stage, the executor, its worker, Stage.run are the four calls."""
    calls.clear()
    run_stage(RunConfig(config), "score")
    assert calls
    path = calls[0]
    steps = [name for name in path if name != "Drive.run"]  # the driver's loop is the second half of run_stage
    assert steps == ["run_stage", "_Here.next", "Worker.make", "Score.run"]
