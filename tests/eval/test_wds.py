"""Evaluation folders with names and members as other people's tars have them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.tasks.zeroshot import ZeroShot
from eval.wds import WdsFolder
from winnow.shards import ShardWriter, read_shard


def rename(folder: Path, names: Callable[[int], str], extra: str = "") -> None:
    """Write the samples of a folder anew under other names, number by number, with one more member in each tar."""
    number = 0
    for path in sorted((folder / "test").glob("*.tar")):
        with path.open("rb") as file:
            samples = list(read_shard(file))
        with path.open("wb") as file:
            writer = ShardWriter(file)
            for sample in samples:
                writer.write(names(number), sample.members)
                number += 1
            if extra:
                writer.write(extra, {"txt": b"x"})
            writer.close()


@pytest.mark.parametrize("name", ["img s{}", "s({})", "bild_ä{}", "v1.0/s{}", "a+b:c@d,e{}", "./plain{}"])
def test_every_picture_is_evaluated_whatever_its_name(colour_classes: Path, colour_embedder: Any, name: str) -> None:
    expected = ZeroShot(path=str(colour_classes)).evaluate(colour_embedder)
    rename(colour_classes, lambda index: name.format(index) if index % 2 else f"s{index}")
    result = ZeroShot(path=str(colour_classes)).evaluate(colour_embedder)
    assert result.num_samples == 12
    assert result.metrics == expected.metrics


def test_members_that_belong_to_no_sample_are_named(colour_classes: Path, caplog: pytest.LogCaptureFixture) -> None:
    rename(colour_classes, lambda index: f"s{index}", extra="__meta__/about")
    assert len(list(WdsFolder(str(colour_classes)).samples())) == 12
    assert "test/1.tar: 1 left out: metadata of the archive (for example '__meta__/about.txt')" in caplog.text
