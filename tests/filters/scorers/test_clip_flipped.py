from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from filters.scorer import Batch
from filters.scorers.caption_stats import CaptionStats
from filters.scorers.clip import Clip
from filters.scorers.clip_flipped import ClipFlipped
from winnow.errors import UserError
from winnow.openclip import create_clip, model_name

TINY = "configs/models/winnow-tiny.json"


def test_equals_open_clip_on_the_mirrored_pictures(checkpoint: Path, pictures: list) -> None:
    import open_clip

    captions = [f"picture {i}" for i in range(len(pictures))]
    clip = Clip(model=TINY, pretrained=str(checkpoint), precision="fp32", threads=2)
    batch = Batch(["0" * 32] * len(pictures), captions, [{}] * len(pictures), pictures)
    batch.columns = {f"clip.{name}": values for name, values in clip.score(batch).items()}
    scorer = ClipFlipped()
    scorer.bind({"clip": clip})
    got = scorer.score(batch)["similarity"]

    model = create_clip(TINY, str(checkpoint))
    config = model.visual.preprocess_cfg
    transform = open_clip.image_transform(config["size"], is_train=False, mean=config["mean"], std=config["std"])
    images = torch.stack([transform(Image.fromarray(p).transpose(Image.Transpose.FLIP_LEFT_RIGHT)) for p in pictures])
    with torch.inference_mode():
        image = model.encode_image(images, normalize=True)
        text = model.encode_text(open_clip.get_tokenizer(model_name(TINY))(captions), normalize=True)
    # another resize (3 of 256 levels), caption embeddings stored as float16
    np.testing.assert_allclose(got, (image * text).sum(dim=1).numpy(), atol=2e-3)
    assert np.abs(got - batch.columns["clip.similarity"]).max() > 5e-3


def test_a_symmetric_picture_keeps_its_score(checkpoint: Path, pictures: list) -> None:
    images = [np.concatenate([p, p[:, ::-1]], axis=1) for p in pictures]
    clip = Clip(model=TINY, pretrained=str(checkpoint), precision="fp32", threads=2)
    batch = Batch(["0" * 32] * len(images), ["a"] * len(images), [{}] * len(images), images)
    batch.columns = {f"clip.{name}": values for name, values in clip.score(batch).items()}
    scorer = ClipFlipped()
    scorer.bind({"clip": clip})
    np.testing.assert_allclose(scorer.score(batch)["similarity"], batch.columns["clip.similarity"], atol=5e-4)


def test_a_peer_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"clip_flipped.*CaptionStats"):
        ClipFlipped(clip="words").bind({"words": CaptionStats()})
