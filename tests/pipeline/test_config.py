from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import RunConfig
from winnow.errors import UserError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(f"pool: {tmp_path}/pool\nrun_dir: {tmp_path}/run\n{text}")
    return path


def test_unknown_section_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown section: 'scores'\. Did you mean 'score'"):
        RunConfig(write(tmp_path, "scores: {}\n"))


def test_unknown_key_of_a_stage_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`download\.image_sise`.*Did you mean 'image_size'"):
        RunConfig(write(tmp_path, "download: {image_sise: 3}\n"))


def test_unknown_executor_lists_the_accepted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown executor: 'dask'.*inline, process, ray"):
        RunConfig(write(tmp_path, "executor: {use: dask}\n"))


def test_pool_and_run_dir_are_required(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("pool: a\n")
    with pytest.raises(UserError, match="`run_dir` is required"):
        RunConfig(path)


def test_saved_config_is_resolved_and_reads_back(tmp_path: Path) -> None:
    config = RunConfig(write(tmp_path, "seed: 1\n"), ["seed=7"])
    config.save()
    again = RunConfig(tmp_path / "run" / "config.yaml")
    assert again.values == config.values
    assert again.values["seed"] == 7


@pytest.mark.parametrize(
    ("section", "value", "key"),
    [
        ("source", {"use": "webnoise", "num_trusted": -4}, "source.num_trusted"),
        ("source", {"use": "webnoise", "pictures": {"use": "folder", "pth": "x"}}, "source.pictures.pth"),
        ("score", {"scorers": {"clip": {"modell": "x"}}}, "score.scorers.clip.modell"),
        ("select", {"strategies": {"a": {"use": "invert", "of": {"use": "dfn", "x": 3}}}}, "select.strategies.a.of.x"),
        ("eval", {"tasks": {"zeroshot": {"path": "x", "sise": 1}}}, "eval.tasks.zeroshot.sise"),
        ("storage", {"retry_for": -1}, "storage.retry_for"),
    ],
)
def test_keys_in_errors_are_said_once(section: str, value: dict[str, Any], key: str, tmp_path: Path) -> None:
    rest = {"ingest": {}, "source": {"use": "webnoise"}, section: value}
    with pytest.raises(UserError) as caught:
        RunConfig(write(tmp_path, yaml.safe_dump(rest)))
    assert f"key `{key}`" in str(caught.value)
    assert str(caught.value).count("key `") == 1
