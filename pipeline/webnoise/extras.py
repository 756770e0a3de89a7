"""What a synthetic pool has beside its URLs and evaluation sets: trusted pairs, and the truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.webnoise.captions import clean_captions, words_for
from pipeline.webnoise.draw import lettering_of, render, written_in
from pipeline.webnoise.evaluation import evaluation_key, write_tar
from pipeline.webnoise.lettering import can_write
from pipeline.webnoise.sample import Sample, sample_at
from pipeline.webnoise.scene import COLORS, Scene
from pipeline.webnoise.world import World
from winnow.component import digest
from winnow.uid import make_uid

__all__ = ["TRUTH", "write_trusted", "write_truth"]

TRUSTED = 1  # stream of the generators
TRUTH = pa.schema(
    [
        ("uid", pa.string()),
        ("category", pa.string()),
        *((name, pa.bool_()) for name in ("wrong_language", "junk_caption", "placeholder", "leak", "near_duplicate")),
        *((name, pa.bool_()) for name in ("low_quality", "text_faint", "text_hidden", "text_turned")),
        *((name, pa.string()) for name in ("language", "defect", "duplicate_of", "leak_of", "text", "text_boxes")),
    ]
)
"""Columns of truth.parquet; docs/webnoise.md explains them."""


def write_trusted(
    world: World,
    folder: Path,
    num_samples: int,
    text_share: float,
    text_only_share: float,
    samples_per_shard: int = 1000,
) -> dict[str, Path]:
    """Write verified pairs, drawn anew from the pictures that the pool shows too.

    Args:
        world: what they are drawn from.
        folder: where to.
        num_samples: how many.
        text_share: share of pairs whose picture shows what the caption says, and words of it.
        text_only_share: share of pairs whose picture shows something else, and words of the caption.
        samples_per_shard: pairs in a tar.

    Returns:
        final name -> file: "trusted/00000.tar" and so on, members .jpg, .txt and .json (uid, group).
    """
    drawn = world.picture_set.kind == "drawing"

    def member(index: int) -> dict[str, bytes]:
        rng = np.random.default_rng((world.seed, TRUSTED, index))
        subject, color = world.pick(rng), tuple(COLORS)[int(rng.integers(len(COLORS)))]
        text = clean_captions(subject, color if drawn else "", 1, rng)[0]
        words, luck = words_for(text, subject.name, rng), rng.random()
        if luck >= text_share + text_only_share or not can_write(words):
            words = ""
        elif luck >= text_share:
            subject, color = world.pick_other(subject, rng), tuple(COLORS)[int(rng.integers(len(COLORS)))]
        width, height = (int(value) for value in rng.integers(224, 321, size=2))
        scene = Scene(subject, color, words, width, height, (world.seed, TRUSTED, index, 1))
        meta = json.dumps({"uid": digest("trusted", world.seed, index), "group": subject.group})
        return {"jpg": render(scene, world.picture_set), "txt": text.encode(), "json": meta.encode()}

    files = {}
    for shard, start in enumerate(range(0, num_samples, samples_per_shard)):
        path = folder / f"trusted-{shard:05d}.tar"
        numbers = range(start, min(start + samples_per_shard, num_samples))
        write_tar(path, ((f"{index:09d}", member(index)) for index in numbers))
        files[f"trusted/{shard:05d}.tar"] = path
    return files


def write_truth(world: World, folder: Path, num_samples: int) -> dict[str, Path]:
    """Write truth.parquet: one row per pair of the pool, in its order."""
    path = folder / "truth.parquet"
    with pq.ParquetWriter(path, TRUTH) as writer:
        for start in range(0, num_samples, 10_000):
            samples = [sample_at(world, index) for index in range(start, min(start + 10_000, num_samples))]
            writer.write_table(pa.Table.from_pylist([_truth(world, sample) for sample in samples], TRUTH))
    return {"truth.parquet": path}


def _truth(world: World, sample: Sample) -> dict[str, Any]:
    """Return a sample's row of truth.parquet."""
    original = sample_at(world, sample.duplicate_of) if sample.duplicate_of is not None else None
    lines, lettering = written_in(sample.scene), lettering_of(sample.scene)
    return {
        "uid": make_uid(sample.url, sample.text),
        "category": sample.category,
        "wrong_language": sample.language != "en",
        "junk_caption": sample.junk_caption,
        "placeholder": sample.placeholder,
        "leak": sample.leak_of is not None,
        "near_duplicate": original is not None,
        "low_quality": bool(sample.defect),
        "text_faint": lettering is not None and lettering.contrast == "faint",
        "text_hidden": lettering is not None and bool(lettering.shapes),
        "text_turned": lettering is not None and lettering.angle != 0,
        "language": sample.language,
        "defect": sample.defect,
        "duplicate_of": make_uid(original.url, original.text) if original is not None else "",
        "leak_of": evaluation_key(sample.leak_of) if sample.leak_of is not None else "",
        "text": " ".join(line.text for line in lines),
        "text_boxes": json.dumps(
            [{"text": line.text, "polygon": np.round(line.polygon, 5).tolist()} for line in lines], ensure_ascii=False
        ),
    }
