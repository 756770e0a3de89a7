import json
from collections.abc import Callable
from pathlib import Path

import pytest

from training.advice import advice
from training.main import train
from training.recipe import Recipe
from training.system import build_system
from training.systems.rectified_flow import RectifiedFlow

Make = Callable[..., Recipe]


def told(recipe: Recipe, num_samples: int = 24) -> list[str]:
    return advice(build_system(recipe.system), recipe, num_samples)


def test_usual_settings_say_nothing(clip_recipe: Make) -> None:
    assert told(clip_recipe(warmup=8)) == []


def test_each_setting_that_is_seldom_meant_is_told(clip_recipe: Make, clip_json: str, tmp_path: Path) -> None:
    (line,) = told(clip_recipe(batch_size=32))
    assert "larger than the set of 24 samples" in line
    (line,) = told(clip_recipe(batch_size=1))
    assert "`batch_size` 1 teaches Clip nothing" in line
    (line,) = told(clip_recipe(warmup=80))
    assert "the learning rate never reaches `lr`" in line
    siglip = tmp_path / "winnow-test-biased.json"
    siglip.write_text(json.dumps(json.loads(Path(clip_json).read_text()) | {"init_logit_bias": -10}))
    (line,) = told(clip_recipe(system={"use": "clip", "model": str(siglip)}))
    assert "made for SigLIP's sigmoid loss; it is trained with InfoNCE" in line


def test_a_loss_of_single_samples_takes_a_batch_of_one(clip_recipe: Make) -> None:
    assert advice(RectifiedFlow.tiny(), clip_recipe(batch_size=1), 24) == []


def test_a_run_tells_it_and_trains(clip_recipe: Make, caplog: pytest.LogCaptureFixture) -> None:
    assert (train(clip_recipe(batch_size=32, samples_seen=32)) / "model.pt").is_file()
    assert "larger than the set of 24 samples" in caplog.text
