import io
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data import Pairs
from training.order import Order
from training.stream import batches
from training.system import Batch, build_system
from winnow.errors import UserError
from winnow.shards import ShardWriter

SYSTEM = {"use": "rectified_flow", "image_size": 16, "channels": 16, "multipliers": [1, 2], "attention": [1]}


def read(
    paths: list[str], *, start: int = 0, stop: int = 40, rank: int = 0, world: int = 1, cache: bool = False
) -> list[Batch]:
    system, pairs = build_system(SYSTEM), Pairs(paths, cache=cache)
    order = Order(pairs.identities(), 7)
    with batches(pairs, order, system, start=start, stop=stop, batch_size=8, rank=rank, world_size=world) as stream:
        return list(stream)


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.images, y.images) and torch.equal(x.tokens, y.tokens) for x, y in zip(a, b, strict=True)
    )


def test_resumed_stream_is_the_rest_of_the_whole_one(shards: list[str]) -> None:
    assert same(read(shards)[3:], read(shards, start=24))


def test_two_ranks_share_the_batches_of_one(shards: list[str]) -> None:
    one, left, right = read(shards), read(shards, rank=0, world=2), read(shards, rank=1, world=2)
    joined = [
        Batch(torch.cat([a.images, b.images]), torch.cat([a.tokens, b.tokens]))
        for a, b in zip(left, right, strict=True)
    ]
    assert same(one, joined)


def test_cache_changes_nothing(shards: list[str]) -> None:
    assert same(read(shards, stop=80), read(shards, stop=80, cache=True))


def test_batch_holds_the_right_pairs(shards: list[str]) -> None:
    system, pairs = build_system(SYSTEM), Pairs(shards)
    picks = Order(pairs.identities(), 7).indices(0, 8)
    first = read(shards)[0]
    for index, image, tokens in zip(picks.tolist(), first.images, first.tokens, strict=True):
        picture, caption = pairs.read(index, 20)
        assert picture is not None
        assert caption.endswith(f"number {index}")
        assert torch.equal(system.tokenize(caption), tokens)
        assert np.array_equal(system.crop(picture, np.random.default_rng(0)), image.permute(1, 2, 0).numpy())


def shard(path: Path, samples: dict[str, dict[str, bytes]]) -> str:
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for key, members in samples.items():
            writer.write(key, members)
        writer.close()
    return str(path)


def png() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_samples_lacking_a_half_are_left_out(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar", {"a": {"png": png()}, "b": {"txt": b"b"}, "c": {"png": png(), "txt": b"c"}})
    assert [location.key for location in Pairs([path]).locations] == ["c"]


def test_pairs_with_odd_names_and_captions_in_the_sidecar_are_read_and_the_rest_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a b", "s(1)", "bild_ä", "v1.0/s", "x+y:z@w,v"]
    samples = {name: {"png": png(), "txt": name.encode()} for name in names}
    samples |= {"side": {"png": png(), "json": b'{"caption": "in the sidecar"}'}}
    samples |= {"mute": {"png": png(), "json": b"{}"}, "blind": {"txt": b"x"}, "__meta__/m": {"txt": b"x"}}
    path = shard(tmp_path / "0.tar", samples)
    pairs = Pairs([path])
    assert [pairs.read(index, 20)[1] for index in range(len(pairs))] == [*names, "in the sidecar"]
    for line in ("1 left out: no picture (for example 'blind')", "1 left out: no caption (for example 'mute')"):
        assert line in caplog.text
    assert "1 left out: metadata of the archive (for example '__meta__/m.txt')" in caplog.text


def test_no_pair_at_all_is_an_error_at_once(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar", {"a": {"png": png()}})
    with pytest.raises(UserError, match="no sample with both"):
        Pairs([path])
    with pytest.raises(UserError, match="no shard at"):
        Pairs([str(tmp_path / "missing.tar")])


def test_copies_share_an_identity(tmp_path: Path) -> None:
    uid, members = "ab" * 16, {"png": png(), "txt": b"c"}
    paths = [shard(tmp_path / f"{i}.tar", {f"{uid}-{i}": members, "000": members}) for i in range(2)]
    a, plain_a, b, plain_b = Pairs(paths).identities()
    assert a == b
    assert len({int(a), int(plain_a), int(plain_b)}) == 3


def test_a_picture_that_does_not_decode_has_its_reason(tmp_path: Path) -> None:
    good = {"png": png(), "txt": b"good"}
    pairs = Pairs([shard(tmp_path / "0.tar", {"bad": {"png": b"no picture", "txt": b"bad"}, "good": good})])
    assert pairs.read(0, 20) == (None, "bad")
    picture, caption = pairs.read(1, 20)
    assert caption == "good"
    assert picture is not None
    assert pairs.undecoded == {0: "not a picture: no known image format"}
    assert pairs.name(0) == "'bad' of 0.tar"


def test_what_is_no_pair_is_counted_with_an_example(tmp_path: Path) -> None:
    samples = {"a": {"png": png()}, "b": {"txt": b"b"}, "c": {"png": png(), "txt": b"c"}, "d": {"png": png()}}
    pairs = Pairs([shard(tmp_path / "0.tar", samples)])
    assert pairs.left_out == {"no caption": (2, "'a' of 0.tar"), "no picture": (1, "'b' of 0.tar")}
