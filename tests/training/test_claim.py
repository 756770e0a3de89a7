"""Which folders a run goes on in: moved ones, and ones whose recipe changed as far as that was asked for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError

from training import loop
from training.data import Pairs
from training.main import train
from training.recipe import Recipe
from winnow.errors import UserError

Make = Callable[..., Recipe]


def interrupted(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, saves: int = 1) -> None:
    """Train until some checkpoints are written."""
    save, saved = loop.save_checkpoint, []

    def dies(*args: Any) -> None:
        save(*args)
        saved.append(args)
        if len(saved) == saves:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", dies)
        with pytest.raises(KeyboardInterrupt):
            train(recipe)


@pytest.fixture
def root(shards: list[str], clip_json: str, tmp_path: Path) -> Path:
    """Return a folder with shards and architecture of its own, which can be moved."""
    (tmp_path / "before").mkdir()
    for path in (*shards, clip_json):
        shutil.copy(path, tmp_path / "before")
    return tmp_path / "before"


def placed(make: Make, root: Path, **fields: Any) -> Recipe:
    data = sorted(map(str, root.glob("*.tar")))
    system = {"use": "clip", "model": str(root / "clip-test.json")}
    return make(system=system, data=data, out_dir=str(root / "out"), checkpoint_every=32, **fields)


def test_a_moved_run_goes_on(clip_recipe: Make, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards, architecture and run lie elsewhere now; the weights are those of a run that stayed."""
    whole = train(placed(clip_recipe, Path(shutil.copytree(root, tmp_path / "whole"))))
    interrupted(placed(clip_recipe, root), monkeypatch)
    moved = Path(shutil.move(root, tmp_path / "after"))
    steps: list[Any] = []
    schedule = loop.learning_rate
    monkeypatch.setattr(loop, "learning_rate", lambda *args: steps.append(args) or schedule(*args))
    out = train(placed(clip_recipe, moved))
    assert len(steps) == (80 - 32) // 8, "from the checkpoint, not from the start"
    for name in ("model.pt", "metrics.jsonl", "samples.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_other_data_or_another_network_in_the_same_place_is_refused(clip_recipe: Make, root: Path) -> None:
    out = train(placed(clip_recipe, root, samples_seen=8))
    before = (out / "model.pt").read_bytes()
    model = json.loads((root / "clip-test.json").read_text())
    (root / "clip-test.json").write_text(json.dumps(model | {"embed_dim": 8}))
    with pytest.raises(UserError, match=r"different: system\)"):
        train(placed(clip_recipe, root, samples_seen=8))
    (root / "clip-test.json").write_text(json.dumps(model))
    first, second = sorted(root.glob("*.tar"))
    shutil.copy(second, first)
    with pytest.raises(UserError, match=r"different: data\)"):
        train(placed(clip_recipe, root, samples_seen=8))
    assert (out / "model.pt").read_bytes() == before


def test_the_digest_is_of_content(shards: list[str], root: Path) -> None:
    here, there = Pairs(shards), Pairs(sorted(map(str, root.glob("*.tar"))))
    assert here.digest() == there.digest()
    assert Pairs(shards[::-1]).digest() != here.digest(), "the order of shards is part of the order of samples"
    path = min(root.glob("*.tar"))
    data = bytearray(path.read_bytes())
    data[there.locations[0].image[0] + 40] ^= 1
    path.write_bytes(data)
    assert Pairs(sorted(map(str, root.glob("*.tar")))).digest() != here.digest()


def test_a_folder_older_than_the_digest_is_told_by_paths(clip_recipe: Make) -> None:
    out = train(clip_recipe(samples_seen=8))
    config = yaml.safe_load((out / "config.yaml").read_text())
    del config["content"]
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    train(clip_recipe(samples_seen=8))
    with pytest.raises(UserError, match=r"different: data\)"):
        train(clip_recipe(samples_seen=8, data=clip_recipe().data[:1]))


def test_a_change_that_is_asked_for_goes_on_from_the_checkpoint(
    clip_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = clip_recipe(checkpoint_every=32)
    interrupted(recipe, monkeypatch)
    checkpoint = torch.load(tmp_path / "out" / "checkpoints" / "000000000000032.pt", weights_only=True)
    with pytest.raises(UserError, match=r"different: lr\).*continue_with_changes: \['lr'\]"):
        train(clip_recipe(checkpoint_every=32, lr=1e-4))
    with pytest.raises(UserError, match=r"different: weight_decay\)"):
        train(clip_recipe(checkpoint_every=32, lr=1e-4, weight_decay=0.0, continue_with_changes=["lr"]))
    changes = {"lr": 1e-4, "weight_decay": 0.0, "continue_with_changes": ["lr", "weight_decay"]}
    out = train(clip_recipe(checkpoint_every=32, keep_checkpoints=9, **changes))
    rates = {line["samples_seen"]: line["lr"] for line in map(json.loads, (out / "metrics.jsonl").open())}
    assert rates[32] > 1e-4 > rates[48]
    assert yaml.safe_load((out / "config.yaml").read_text())["lr"] == 1e-4
    last = torch.load(out / "checkpoints" / "000000000000080.pt", weights_only=True)
    steps = [state["optimizers"]["model"]["state"][0]["step"].item() for state in (checkpoint, last)]
    assert steps == [4, 10], "the optimizer went on too"
    assert {group["weight_decay"] for group in last["optimizers"]["model"]["param_groups"]} == {0.0}


def test_what_cannot_change_half_way_is_refused(clip_recipe: Make) -> None:
    with pytest.raises(ValidationError, match="continue_with_changes"):
        clip_recipe(continue_with_changes=["batch_size"])
