"""What training sees is the order without the pictures that do not decode, wherever these lie."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.crops import random_resized_crop
from training.data import Pairs
from training.main import train
from training.order import Order
from training.recipe import Recipe
from training.stream import Skipped, batches
from training.system import Batch, System
from winnow.errors import UserError
from winnow.shards import ShardWriter

ROOT = Path(__file__).parents[2]


class Reader(System):
    """Crops at random, and reads captions that are numbers."""

    image_size = 4

    def __init__(self) -> None:
        super().__init__(None)

    def crop(self, picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        return random_resized_crop(picture, (4, 4), (0.2, 0.9), random)

    def tokenize(self, caption: str) -> Tensor:
        return torch.tensor([int(caption)])


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [png(number) for number in range(40)]


def write(path: Path, bad: list[bool]) -> Pairs:
    """Write a shard whose n-th caption is n; bad pictures are what servers send in place of one, or cut short."""
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for number, is_bad in enumerate(bad):
            broken = b"<html>gone</html>" if number % 2 else PICTURES[number][:-30]
            picture = broken if is_bad else PICTURES[number]
            writer.write(f"{number:05d}", {"png": picture, "txt": str(number).encode()})
        writer.close()
    return Pairs([str(path)])


def read(pairs: Pairs, stop: int, batch_size: int, skipped: Skipped, start: int = 0, **how: Any) -> Iterator[Batch]:
    order = Order(pairs.identities(), 3)
    with batches(
        pairs, order, Reader(), start=start, stop=stop, batch_size=batch_size, skipped=skipped, **how
    ) as stream:  # fmt: skip
        yield from stream


def seen(found: list[Batch]) -> list[int]:
    return torch.cat([batch.tokens for batch in found]).flatten().tolist()


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[bool], int, int, int]:
    """Return which pictures are bad (any pattern, half of them at most), batch size, batches and where to restart."""
    bad = draw(st.lists(st.booleans(), min_size=1, max_size=40))
    while sum(bad) > len(bad) / 2:
        bad[bad.index(True)] = False
    size, count = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    return bad, size, count, draw(st.integers(0, count))


@settings(max_examples=60, deadline=None)
@given(sets(), st.integers(1, 4))
def test_the_order_without_the_bad_ones(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[list[bool], int, int, int], num_workers: int
) -> None:
    bad, size, count, restart = case
    pairs = write(tmp_path_factory.mktemp("shard") / "0.tar", bad)
    skipped, states, whole = Skipped(), [Skipped()], []
    for batch in read(pairs, size * count, size, skipped, num_workers=num_workers):
        whole.append(batch)
        states.append(deepcopy(skipped))
    order = Order(pairs.identities(), 3)
    endless = (int(order.indices(position, 1)[0]) for position in range(10_000))
    assert seen(whole) == list(islice((index for index in endless if not bad[index]), size * count))
    assert all(bad[index] for index in skipped.reasons)

    # a restart from a checkpoint reads the rest, bit for bit, and ends with the same state
    state = Skipped()
    state.load_state_dict(json.loads(json.dumps(states[restart].state_dict()), object_hook=_numbers))
    rest = list(read(pairs, size * count, size, state, start=size * restart))
    assert len(rest) == count - restart
    for a, b in zip(rest, whole[restart:], strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.tokens, b.tokens)
    assert state == skipped


def _numbers(found: dict[str, Any]) -> dict[Any, Any]:
    """JSON turns the keys of a mapping into texts."""
    return {int(key) if key.isdigit() else key: value for key, value in found.items()}


def test_each_good_pair_is_seen_equally_often(tmp_path: Path) -> None:
    """Sixteen bad pictures in a row of forty: three passes over what is left, none more often than another."""
    pairs = write(tmp_path / "0.tar", [10 <= number < 26 for number in range(40)])
    found = seen(list(read(pairs, 72, 8, Skipped())))
    assert np.bincount(found, minlength=40).tolist() == [3] * 10 + [0] * 16 + [3] * 14


def test_too_many_are_an_error_with_an_example(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pairs = write(tmp_path / "0.tar", [number % 2 == 1 for number in range(40)])
    assert len(list(read(pairs, 80, 8, Skipped(), max_bad_share=0.5))) == 10
    assert caplog.text.count("is skipped: ") == 10
    assert "further ones are only counted" in caplog.text
    with pytest.raises(UserError, match=r"of 40 pictures do not decode, a share above `max_bad_share` 0\.45"):
        list(read(pairs, 80, 8, Skipped(), max_bad_share=0.45))
    (tmp_path / "none").mkdir()
    for count in (1, 2, 5):  # nothing to read must not be read for ever
        with pytest.raises(UserError, match="do not decode"):
            list(read(write(tmp_path / f"{count}.tar", [True] * count), 8, 8, Skipped(), max_bad_share=0.99))


def bad_shard(path: Path) -> str:
    bad = [number % 3 == 0 for number in range(40)]
    write(path, bad)
    return str(path)


def ranks(path: str, folder: str) -> None:
    """Read as one rank and keep what it saw; run by torchrun."""
    from training.distributed import process_group, rank, world_size

    with process_group(torch.device("cpu")):
        skipped = Skipped()
        found = list(read(Pairs([path]), 48, 8, skipped, rank=rank(), world_size=world_size()))
        torch.save(([(batch.images, batch.tokens) for batch in found], skipped.state_dict()), f"{folder}/{rank()}.pt")


def test_two_ranks_skip_what_one_skips(tmp_path: Path) -> None:
    path = bad_shard(tmp_path / "0.tar")
    script = tmp_path / "worker.py"
    script.write_text(
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('helper', {__file__!r})\n"
        "helper = importlib.util.module_from_spec(spec); spec.loader.exec_module(helper)\n"
        f"helper.ranks({path!r}, {str(tmp_path)!r})\n"
    )
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)],
        check=True, cwd=ROOT, env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    (left, state), (right, other) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    skipped = Skipped()
    one = list(read(Pairs([path]), 48, 8, skipped))
    assert state == other == skipped.state_dict()
    for batch, a, b in zip(one, left, right, strict=True):
        assert torch.equal(batch.images, torch.cat([a[0], b[0]]))
        assert torch.equal(batch.tokens, torch.cat([a[1], b[1]]))


def test_a_run_over_bad_pictures_counts_them_and_resumes(
    clip_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen in a row are skipped and counted; killed half-way, the run ends with the same bytes."""
    path = tmp_path / "0.tar"
    write(path, [4 <= number < 20 for number in range(40)])
    fields = {"data": [str(path)], "samples_seen": 64, "checkpoint_every": 16}
    whole = train(clip_recipe(out_dir=str(tmp_path / "whole"), **fields))
    found = json.loads((whole / "samples.json").read_text())
    assert (found["read"], found["kept"]) == (40, 24)
    assert sum(entry["count"] for entry in found["left_out"].values()) == 16
    assert "of 0.tar: " in found["left_out"]["not a picture"]["example"]

    from training import loop

    save, saved = loop.save_checkpoint, []

    def dies(*args: Any) -> None:
        save(*args)
        saved.append(args)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", dies)
        with pytest.raises(KeyboardInterrupt):
            train(clip_recipe(out_dir=str(tmp_path / "killed"), **fields))
    killed = train(clip_recipe(out_dir=str(tmp_path / "killed"), **fields))
    for name in ("model.pt", "metrics.jsonl", "samples.json", "checkpoints/000000000000064.pt"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
