"""Shards of drawn pictures and the smallest recipes that train on them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from training.recipe import Recipe
from winnow.shards import ShardWriter

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 50, 200), "yellow": (230, 210, 40)}


@pytest.fixture(autouse=True)
def _threads() -> None:
    """Use one thread everywhere: sums of floats depend on the number, and idle threads of a busy machine spin."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return two shards of 12 pictures each: a coloured square on white, named by its colour."""
    folder = tmp_path_factory.mktemp("shards")
    paths = []
    for shard in range(2):
        paths.append(str(folder / f"{shard:08d}.tar"))
        with open(paths[-1], "wb") as file:
            writer = ShardWriter(file)
            for index in range(12):
                number = 12 * shard + index
                name, colour = list(COLOURS.items())[number % 4]
                uid = f"{number:032x}"
                members = {
                    "png": _picture(colour, number),
                    "txt": f"a {name} square, number {number}".encode(),
                    "json": json.dumps({"uid": uid}).encode(),
                }
                writer.write(f"{uid}-0", members)
            writer.close()
    return paths


def _picture(colour: tuple[int, int, int], number: int) -> bytes:
    pixels = np.full((40 + number, 48, 3), 255, dtype=np.uint8)
    pixels[10 : 30 + number % 5, 8:36] = colour
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def clip_json(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of an architecture a few thousand weights large (but for the vocabulary)."""
    path = tmp_path_factory.mktemp("models") / "clip-test.json"
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    return str(path)


@pytest.fixture
def clip_recipe(shards: list[str], clip_json: str, tmp_path: Path) -> Callable[..., Recipe]:
    """Return a maker of small clip recipes; arguments replace fields."""

    def make(**fields: Any) -> Recipe:
        base: dict[str, Any] = {
            "system": {"use": "clip", "model": clip_json},
            "data": shards,
            "out_dir": str(tmp_path / "out"),
            "samples_seen": 80,
            "batch_size": 8,
            "lr": 1e-3,
            "log_every": 16,
            "device": "cpu",
        }
        return Recipe(**base | fields)

    return make
