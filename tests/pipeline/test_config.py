from pathlib import Path

import pytest

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
