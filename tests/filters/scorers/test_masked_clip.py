import json
from pathlib import Path

import numpy as np
import pytest

from filters.scorer import Batch
from filters.scorers.caption_stats import CaptionStats
from filters.scorers.clip import Clip
from filters.scorers.masked_clip import MaskedClip
from filters.text.masking import mask_polygons
from winnow.errors import UserError

TINY = "configs/models/winnow-tiny.json"
BOX = [[20.0, 20.0], [60.0, 20.0], [60.0, 60.0], [20.0, 60.0]]


@pytest.fixture(scope="module")
def clip(checkpoint: Path) -> Clip:
    return Clip(model=TINY, pretrained=str(checkpoint), precision="fp32", threads=2)


def scored(clip: Clip, pictures: list, boxes: list[list]) -> Batch:
    captions = [f"picture {i}" for i in range(len(pictures))]
    batch = Batch(["0" * 32] * len(pictures), captions, [{}] * len(pictures), pictures)
    batch.columns = {f"clip.{name}": values for name, values in clip.score(batch).items()}
    batch.columns["text_boxes.boxes"] = [json.dumps(b) for b in boxes]
    return batch


def test_without_text_the_similarity_is_clips_bit_for_bit(clip: Clip, pictures: list) -> None:
    batch = scored(clip, pictures, [[] for _ in pictures])
    scorer = MaskedClip()
    scorer.bind({"clip": clip})
    columns = scorer.score(batch)
    assert columns["similarity"].tobytes() == batch.columns["clip.similarity"].tobytes()
    assert not columns["masked"].any()


@pytest.mark.parametrize("fill", ["ring_mean", "box_mean", "image_mean", "constant"])
def test_pictures_with_text_are_scored_without_it(clip: Clip, pictures: list, fill: str) -> None:
    boxes = [[BOX] if i % 2 else [] for i in range(len(pictures))]
    batch = scored(clip, pictures, boxes)
    scorer = MaskedClip(fill=fill, dilation=1, ring_width=3)
    scorer.bind({"clip": clip})
    columns = scorer.score(batch)
    polygons = [[np.array(box, np.float32) for box in each] for each in boxes]
    masked = [mask_polygons(p, each, fill, 1, 3) for p, each in zip(pictures, polygons, strict=True)]
    expected = clip.score(Batch(batch.uids, batch.captions, batch.meta, masked))["similarity"]
    np.testing.assert_allclose(columns["similarity"], expected, atol=5e-4)  # caption embeddings are stored as float16
    assert (columns["similarity"] != batch.columns["clip.similarity"])[1::2].any()
    assert columns["masked"].tolist() == [bool(b) for b in boxes]


def test_a_peer_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="CaptionStats"):
        MaskedClip(clip="words").bind({"words": CaptionStats()})
