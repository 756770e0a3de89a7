"""Evaluation folders in the wds layout, and embedders whose right answers are known by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from colours import COLOURS, png
from numpy.typing import NDArray

from winnow.shards import ShardWriter


class ColourEmbedder:
    """Embeds a picture as its mean colour and a text as the colour that it names: solves colour tasks exactly."""

    def encode_images(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return _unit(np.stack([image.reshape(-1, 3).mean(axis=0) for image in images]))

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        return _unit(np.array([next(rgb for name, rgb in COLOURS.items() if name in text) for text in texts]))


def _unit(features: NDArray[np.floating]) -> NDArray[np.float32]:
    out: NDArray[np.float32] = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    return out


@pytest.fixture
def colour_embedder() -> ColourEmbedder:
    return ColourEmbedder()


@pytest.fixture
def wds_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of evaluation folders: samples as (members by suffix), two shards."""

    def write(samples: list[dict[str, bytes]], **texts: str) -> Path:
        folder = tmp_path / "heldout"
        (folder / "test").mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / f"{name}.txt").write_text(text)
        (folder / "test" / "nshards.txt").write_text("2")
        half = (len(samples) + 1) // 2
        for number, part in enumerate((samples[:half], samples[half:])):
            with (folder / "test" / f"{number}.tar").open("wb") as file:
                writer = ShardWriter(file)
                for index, members in enumerate(part):
                    writer.write(f"s{number * half + index:07d}", members)
                writer.close()
        return folder

    return write


@pytest.fixture
def colour_classes(wds_folder: Callable[..., Path]) -> Path:
    """Three pictures of each of four colours; the last is labelled wrongly."""
    names = list(COLOURS)
    samples = [{"png": png(COLOURS[name]), "cls": str(names.index(name)).encode()} for name in names for _ in range(3)]
    samples[-1]["cls"] = b"0"
    return wds_folder(
        samples, classnames="\n".join(names), zeroshot_classification_templates="a {c} square\n{c} paint\n"
    )


@pytest.fixture
def colour_captions(wds_folder: Callable[..., Path]) -> Path:
    """One picture per colour with two captions each."""
    samples = [{"png": png(rgb), "txt": f"a {name} square\nall {name}".encode()} for name, rgb in COLOURS.items()]
    return wds_folder(samples, dataset_type="retrieval")
