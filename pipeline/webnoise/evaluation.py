"""The evaluation sets of a synthetic pool: held-out pictures in the wds layout of CLIP_benchmark."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.webnoise.captions import clean_captions
from pipeline.webnoise.draw import render
from pipeline.webnoise.scene import COLORS, Scene
from pipeline.webnoise.world import World
from winnow.errors import UserError
from winnow.shards import ShardWriter

__all__ = ["evaluation_key", "evaluation_scene", "num_evaluated", "write_heldout", "write_tar"]

HELDOUT = 2  # stream of the generators
GROUP_TEMPLATES = ("a photo of a thing, {c}", "{c}", "a picture of {c}", "from the collection {c}", "{c}: a picture")
COLOR_TEMPLATES = ("a thing on a {c} background", "a photo of a thing, {c} background", "{c} poster", "on {c} paper")
CLASS_TEMPLATES = ("a photo of a {c}", "{c}", "a picture of a {c}", "a close-up photo of a {c}")
"""Zero-shot prompts in the wording of the captions that carry a group, a colour or a class."""

NUM_CAPTIONS = 3


def evaluation_key(index: int) -> str:
    """Return the key of evaluation picture `index` in every task's tar."""
    return f"s{index:07d}"


def evaluation_scene(world: World, index: int) -> tuple[Scene, np.random.Generator]:
    """Return evaluation picture `index` and the generator for its captions.

    Every class comes equally often while its pictures last, so that a caption's group word tells something. A drawing
    may come again on another background, a photograph occurs once.
    """
    rng = np.random.default_rng((world.seed, HELDOUT, 0, index))
    if world.picture_set.kind == "drawing":
        subject = world.pick(rng, world.heldout_groups[index % len(world.heldout_groups)], heldout=True)
    else:
        subject = world.heldout_photographs[index]
    color = tuple(COLORS)[int(rng.integers(len(COLORS)))]
    return Scene(subject, color, "", 256, 256, (world.seed, HELDOUT, 0, index, 1), "webp", whole=True), rng


def num_evaluated(world: World) -> int:
    """Return how many evaluation pictures there are.

    Raises:
        UserError: none is held out.
    """
    if not world.heldout_groups:
        raise UserError(
            f"heldout_fraction {world.heldout_fraction} of {len(world.picture_set.subjects)} pictures holds none out; "
            "raise it, or give more pictures"
        )
    drawn = world.picture_set.kind == "drawing"
    return world.num_heldout if drawn else min(world.num_heldout, len(world.heldout_photographs))


def write_heldout(world: World, folder: Path) -> dict[str, Path]:
    """Write the evaluation sets.

    Of drawings: `groups` asks for the emoji group, for what unseen drawings have in common; `colors` for the
    background, which the smallest model can learn. Of photographs with classes: `classes`. Of all: `retrieval`, which
    finds a picture by its caption and the reverse.

    Returns:
        final name -> file below "heldout/<task>/".
    """
    groups, drawn = world.heldout_groups, world.picture_set.kind == "drawing"
    count = num_evaluated(world)

    @cache
    def picture(index: int) -> bytes:
        return render(evaluation_scene(world, index)[0], world.picture_set, quality=95)

    def labelled(index: int) -> dict[str, bytes]:
        subject = evaluation_scene(world, index)[0].subject
        assert subject is not None
        return {"webp": picture(index), "cls": str(groups.index(subject.group)).encode()}

    def colored(index: int) -> dict[str, bytes]:
        label = list(COLORS).index(evaluation_scene(world, index)[0].color)
        return {"webp": picture(index), "cls": str(label).encode()}

    def captioned(index: int) -> dict[str, bytes]:
        scene, rng = evaluation_scene(world, index)
        assert scene.subject is not None
        texts = clean_captions(scene.subject, scene.color if drawn else "", NUM_CAPTIONS, rng)
        return {"webp": picture(index), "txt": "\n".join(texts).encode()}

    tasks: dict[str, tuple[Callable[[int], dict[str, bytes]], dict[str, str]]] = {
        "retrieval": (captioned, {"dataset_type.txt": "retrieval\n"}),
    }
    if drawn:
        tasks["groups"] = (labelled, _zeroshot_files(groups, GROUP_TEMPLATES))
        tasks["colors"] = (colored, _zeroshot_files(COLORS, COLOR_TEMPLATES))
    elif len(groups) > 1:
        tasks["classes"] = (labelled, _zeroshot_files(groups, CLASS_TEMPLATES))
    files = {}
    for task, (member, texts) in tasks.items():
        path = folder / f"{task}.tar"
        write_tar(path, ((evaluation_key(index), member(index)) for index in range(count)))
        files[f"heldout/{task}/test/0.tar"] = path
        for name, text in {**texts, "test/nshards.txt": "1\n"}.items():
            file = folder / f"{task}-{name.replace('/', '-')}"
            file.write_text(text, encoding="utf-8")
            files[f"heldout/{task}/{name}"] = file
    return files


def write_tar(path: Path, samples: Iterable[tuple[str, dict[str, bytes]]]) -> None:
    """Write one tar of (key, members)."""
    with open(path, "wb") as file:
        writer = ShardWriter(file)
        for key, members in samples:
            writer.write(key, members)
        writer.close()


def _zeroshot_files(classes: Iterable[str], templates: tuple[str, ...]) -> dict[str, str]:
    """Return the text files of a zero-shot task."""
    return {
        "classnames.txt": "\n".join(classes) + "\n",
        "zeroshot_classification_templates.txt": "\n".join(templates) + "\n",
    }
