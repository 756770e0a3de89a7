"""What the demo pool has beside its URLs: trusted shards, evaluation sets of held-out pictures, the truth."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.webnoise.captions import clean_captions
from pipeline.webnoise.draw import COLORS, Scene, draw, encode
from pipeline.webnoise.groups import GROUPS
from pipeline.webnoise.world import HELDOUT, TRUSTED, World
from winnow.component import digest
from winnow.shards import ShardWriter

__all__ = ["write_heldout", "write_trusted"]

GROUP_TEMPLATES = ("a photo of a thing, {c}", "{c}", "a picture of {c}", "from the collection {c}", "{c}: a picture")
COLOR_TEMPLATES = ("a thing on a {c} background", "a photo of a thing, {c} background", "{c} poster", "on {c} paper")
"""Zero-shot prompts in the wording of the captions that carry a group or a colour."""

TEXT_SHARE = 0.4  # of trusted pairs that show their caption's words too, so that a filter network learns to read
NUM_CAPTIONS = 3


def write_trusted(world: World, folder: Path, num_samples: int, samples_per_shard: int = 1000) -> dict[str, Path]:
    """Write verified pairs, drawn anew from the pictures that the pool shows too.

    Returns:
        final name -> file: "trusted/00000.tar" and so on, members .jpg, .txt and .json (uid, group).
    """

    def member(index: int) -> dict[str, bytes]:
        rng = np.random.default_rng((world.seed, TRUSTED, index))
        picture, color = world.pick(rng), str(rng.choice(list(COLORS)))
        text = clean_captions(picture, color, 1, rng)[0]
        words = world.words_of(text, picture.name, rng) if rng.random() < TEXT_SHARE else ""
        width, height = (int(value) for value in rng.integers(224, 321, size=2))
        scene = Scene(picture, color, words, width, height, (world.seed, TRUSTED, index, 1))
        meta = f'{{"uid": "{digest("trusted", world.seed, index)}", "group": "{picture.group}"}}'
        return {"jpg": encode(draw(scene), "jpg"), "txt": text.encode(), "json": meta.encode()}

    files = {}
    for shard, start in enumerate(range(0, num_samples, samples_per_shard)):
        path = folder / f"trusted-{shard:05d}.tar"
        _write(path, range(start, min(start + samples_per_shard, num_samples)), member, "{:09d}")
        files[f"trusted/{shard:05d}.tar"] = path
    return files


def write_heldout(world: World, folder: Path, num_samples: int) -> dict[str, Path]:
    """Write the evaluation sets in CLIP_benchmark's wds layout.

    `groups` classifies a drawing into its emoji group, which asks for what unseen drawings have in common; `colors` the
    same pictures by their background, which the smallest model can learn; `retrieval` finds a picture by its caption
    and the reverse.

    Returns:
        final name -> file below "heldout/<task>/".
    """
    groups = [group for group in GROUPS if group in world.drawings[True]]

    def scene(index: int, stream: int) -> tuple[Scene, np.random.Generator]:
        rng = np.random.default_rng((world.seed, HELDOUT, stream, index))
        # Every class equally often; the retrieval set too, so that a caption's group word tells something.
        picture, color = world.pick(rng, groups[index % len(groups)], heldout=True), str(rng.choice(list(COLORS)))
        return Scene(picture, color, "", 256, 256, (world.seed, HELDOUT, stream, index, 1)), rng

    @cache
    def drawn(index: int) -> tuple[bytes, Scene]:
        made, _ = scene(index, 0)
        return encode(draw(made), "webp", 95), made

    def grouped(index: int) -> dict[str, bytes]:
        data, made = drawn(index)
        return {"webp": data, "cls": str(groups.index(made.picture.group)).encode()}

    def colored(index: int) -> dict[str, bytes]:
        data, made = drawn(index)
        return {"webp": data, "cls": str(list(COLORS).index(made.color)).encode()}

    def captioned(index: int) -> dict[str, bytes]:
        made, rng = scene(index, 1)
        texts = clean_captions(made.picture, made.color, NUM_CAPTIONS, rng)
        return {"webp": encode(draw(made), "webp", 95), "txt": "\n".join(texts).encode()}

    tasks: dict[str, tuple[Callable[[int], dict[str, bytes]], dict[str, str]]] = {
        "groups": (grouped, _zeroshot_files(groups, GROUP_TEMPLATES)),
        "colors": (colored, _zeroshot_files(list(COLORS), COLOR_TEMPLATES)),
        "retrieval": (captioned, {"dataset_type.txt": "retrieval\n"}),
    }
    files = {}
    for task, (member, texts) in tasks.items():
        path = folder / f"{task}.tar"
        _write(path, range(num_samples), member, "s{:07d}")
        files[f"heldout/{task}/test/0.tar"] = path
        for name, text in {**texts, "test/nshards.txt": "1\n"}.items():
            file = folder / f"{task}-{name.replace('/', '-')}"
            file.write_text(text, encoding="utf-8")
            files[f"heldout/{task}/{name}"] = file
    return files


def _zeroshot_files(classes: list[str], templates: tuple[str, ...]) -> dict[str, str]:
    """Return the text files of a zero-shot task."""
    return {
        "classnames.txt": "\n".join(classes) + "\n",
        "zeroshot_classification_templates.txt": "\n".join(templates) + "\n",
    }


def _write(path: Path, indices: range, member: Callable[[int], dict[str, bytes]], key: str) -> None:
    """Write one tar of the samples with these numbers."""
    with open(path, "wb") as file:
        writer = ShardWriter(file)
        for index in indices:
            writer.write(key.format(index), member(index))
        writer.close()
