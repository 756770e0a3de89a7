import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from eval.features import load_embedder
from training.main import load_system, read_recipe, train
from training.recipe import Recipe
from winnow.errors import UserError

ROOT = Path(__file__).parents[2]


def write(recipe: Recipe, path: Path) -> Path:
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    return path


def command(recipe: Path) -> list[str]:
    return [sys.executable, "-m", "training", str(recipe)]


def test_sigkill_between_checkpoints_and_rerun(clip_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """`python -m training` killed hard half-way ends with the bytes of an undisturbed run."""
    fields = {"samples_seen": 240, "checkpoint_every": 50, "log_every": 16, "ema": 0.9, "cache": True}
    recipe = write(clip_recipe(out_dir=str(tmp_path / "killed"), **fields), tmp_path / "recipe.yaml")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command(recipe), cwd=ROOT, env=environment)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= 5:  # 80 samples: past the checkpoint at 56
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL
    checkpoints = sorted(path.name for path in (tmp_path / "killed" / "checkpoints").glob("*.pt"))
    assert checkpoints
    assert not (tmp_path / "killed" / "model.pt").exists()
    train(read_recipe(recipe))
    train(clip_recipe(out_dir=str(tmp_path / "whole"), **fields))
    for name in ("model.pt", "metrics.jsonl", "config.yaml", "clip-test.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_finished_run_is_left_as_it_is(clip_recipe: Callable[..., Recipe]) -> None:
    out = train(clip_recipe())
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    train(clip_recipe(num_workers=1, cache=True))  # what changes no weight may change
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_folder_of_another_recipe_is_refused(clip_recipe: Callable[..., Recipe]) -> None:
    train(clip_recipe())
    with pytest.raises(UserError, match=r"another recipe \(different: lr\)"):
        train(clip_recipe(lr=2e-3))


def test_average_is_what_is_saved(clip_recipe: Callable[..., Recipe]) -> None:
    out = train(clip_recipe(ema=0.99))
    state = torch.load(max((out / "checkpoints").iterdir()), weights_only=True)
    saved = torch.load(out / "model.pt", weights_only=True)
    name = "visual.conv1.weight"
    assert torch.equal(saved[name], state["ema"][f"model.{name}"])
    assert not torch.equal(saved[name], state["system"][f"model.{name}"])


def test_load_system_needs_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished training run"):
        load_system(tmp_path)


def test_flipped_bit_of_the_weights_is_found_at_load(clip_recipe: Callable[..., Recipe]) -> None:
    out = train(clip_recipe(samples_seen=8))
    path = out / "model.pt"
    weights = torch.load(path, weights_only=True)["visual.conv1.weight"].numpy().tobytes()
    data = bytearray(path.read_bytes())
    data[bytes(data).index(weights) + len(weights) // 2] ^= 64
    path.write_bytes(data)
    for load in (load_system, load_embedder):
        with pytest.raises(UserError, match=r"model\.pt' is damaged"):
            load(out)


def test_command_line_errors(tmp_path: Path, clip_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    from training.__main__ import main

    fields = clip_recipe().model_dump(mode="json")
    for change, words in (
        ({"sytem": 1}, "Did you mean 'system'"),
        ({"system": {"use": "clipp"}}, "Did you mean 'clip'"),
        ({"system": {"use": "clip", "modle": "x"}}, "Did you mean 'model'"),
        ({"lr": -1}, "lr"),
    ):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(fields | change))
        monkeypatch.setattr(sys, "argv", ["training", str(path)])
        assert main() == 1
        assert words in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["training"])
    assert main() == 2


@pytest.mark.slow
def test_two_ranks_train_like_one(clip_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Whole runs: losses of 1 and 2 processes agree to rounding, and a run of two resumes."""
    one = train(clip_recipe(out_dir=str(tmp_path / "one")))
    recipe = write(clip_recipe(out_dir=str(tmp_path / "two")), tmp_path / "recipe.yaml")
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "training",
         str(recipe)],
        check=True, cwd=ROOT, env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    for a, b in zip(
        *((folder / "metrics.jsonl").read_text().splitlines() for folder in (one, tmp_path / "two")), strict=True
    ):
        assert json.loads(b)["contrastive/loss"] == pytest.approx(json.loads(a)["contrastive/loss"], rel=1e-3)
