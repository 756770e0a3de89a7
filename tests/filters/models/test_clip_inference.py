from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from filters.models.clip_inference import ClipTowers, Preprocess
from winnow.openclip import create_clip, model_name

TINY = "configs/models/winnow-tiny.json"
CAPTIONS = [
    "a dog",
    "",
    "two red birds on a long branch over the river at night",
    "cat",
    "a dog",
    "x " * 90,
]


@pytest.fixture(scope="module")
def towers(checkpoint: Path) -> ClipTowers:
    return ClipTowers(TINY, str(checkpoint), precision="fp32", threads=2, batch_size=4)


def reference(checkpoint: Path) -> torch.nn.Module:
    return create_clip(TINY, str(checkpoint))


def transform(config: dict) -> object:
    return open_clip.image_transform(
        config["size"],
        is_train=False,
        mean=config["mean"],
        std=config["std"],
        interpolation=config["interpolation"],
        resize_mode=config["resize_mode"],
        fill_color=config["fill_color"],
    )


@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_preprocessing_is_pillows_within_a_few_levels(pictures: list, resize_mode: str, interpolation: str) -> None:
    config = reference_config() | {"resize_mode": resize_mode, "interpolation": interpolation}
    ours = Preprocess(config)
    scale, shift = (v.view(3, 1, 1) for v in ours.affine())
    theirs = transform(config)
    for picture in pictures:
        expected = theirs(Image.fromarray(picture))  # type: ignore[operator]
        got = ours(picture) * scale + shift
        levels = (got - expected).abs() / scale  # differences in units of 1/255
        assert levels.max() <= 3
        assert levels.mean() < 0.1


def reference_config() -> dict:
    return dict(create_clip(TINY).visual.preprocess_cfg)


@torch.inference_mode()
def test_cut_text_equals_the_full_context(towers: ClipTowers, checkpoint: Path) -> None:
    tokens = open_clip.get_tokenizer(model_name(TINY))(CAPTIONS)
    expected = reference(checkpoint).encode_text(tokens, normalize=True).numpy()
    assert towers.causal_text is not None
    np.testing.assert_allclose(towers.embed_texts(CAPTIONS), expected, atol=2e-6)


@torch.inference_mode()
def test_images_equal_open_clips_own_loop(towers: ClipTowers, checkpoint: Path, pictures: list) -> None:
    model, own = reference(checkpoint), transform(reference_config())
    expected = torch.cat([model.encode_image(own(Image.fromarray(p))[None], normalize=True) for p in pictures])  # type: ignore[operator]
    cosine = (towers.embed_images(pictures) * expected.numpy()).sum(axis=1)
    assert cosine.min() > 0.9999


def test_embeddings_do_not_depend_on_the_batch(towers: ClipTowers, pictures: list) -> None:
    alone = np.concatenate([towers.embed_images([p]) for p in pictures])
    np.testing.assert_allclose(towers.embed_images(pictures), alone, atol=2e-6)
    alone = np.concatenate([towers.embed_texts([c]) for c in CAPTIONS])
    np.testing.assert_allclose(towers.embed_texts(CAPTIONS), alone, atol=2e-6)


def test_nothing_gives_no_rows_of_the_right_width(towers: ClipTowers) -> None:
    assert towers.embed_images([]).shape == towers.embed_texts([]).shape == (0, 128)


def test_bfloat16_stays_close(towers: ClipTowers, checkpoint: Path, pictures: list) -> None:
    low = ClipTowers(TINY, str(checkpoint), precision="bf16", threads=2)
    assert (low.embed_images(pictures) * towers.embed_images(pictures)).sum(axis=1).min() > 0.999
    assert (low.embed_texts(CAPTIONS) * towers.embed_texts(CAPTIONS)).sum(axis=1).min() > 0.999


@torch.inference_mode()
@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        ({}, True),
        ({"no_causal_mask": True}, False),
        ({"embed_cls": True}, False),
        ({"pool_type": "last"}, False),
        ({"proj_bias": True}, True),
        ({"pool_type": "eos", "eos_id": 49407}, True),
    ],
)
@pytest.mark.parametrize("custom", [True, False])
def test_every_kind_of_text_tower_gives_open_clips_numbers(
    tmp_path: Path, text: dict, cuts: bool, custom: bool
) -> None:
    import json

    if text.get("embed_cls") and not custom:
        pytest.skip("open_clip's plain CLIP takes no class token in the text tower")
    config = {
        "embed_dim": 16,
        "custom_text": custom,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2, **text},
    }
    name = f"test-{custom}-{'-'.join(text)}"
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(config))
    towers = ClipTowers(str(path), None, precision="fp32", threads=2, batch_size=2)
    assert (towers.causal_text is not None) == cuts
    expected = towers.model.encode_text(towers.tokenizer(CAPTIONS), normalize=True).numpy()
    np.testing.assert_allclose(towers.embed_texts(CAPTIONS), expected, atol=2e-6)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("vision", "known"),
    [
        ({}, True),
        ({"layers": 1}, True),
        ({"ls_init_value": 0.1, "no_ln_pre": True, "final_ln_after_pool": True}, True),
        ({"pos_embed_type": "sin_cos_2d"}, True),
        ({"pool_type": "avg"}, False),
        ({"attentional_pool": True, "attn_pooler_heads": 2}, False),
    ],
)
@pytest.mark.parametrize("custom", [True, False])
def test_every_kind_of_vision_tower_gives_open_clips_numbers(
    tmp_path: Path, vision: dict, known: bool, custom: bool, pictures: list
) -> None:
    import json

    config = {
        "embed_dim": 16,
        "custom_text": custom,
        "vision_cfg": {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8, **vision},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    path = tmp_path / f"vision-{custom}-{'-'.join(vision)}.json"
    path.write_text(json.dumps(config))
    towers = ClipTowers(str(path), None, precision="fp32", threads=2, batch_size=4)
    assert (towers.token_vision is not None) == known
    pixels = torch.stack([towers.preprocess(picture) for picture in pictures])
    pixels = torch.addcmul(towers.shift, pixels.float(), towers.scale)
    expected = towers.model.encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(towers.embed_images(pictures), expected, atol=2e-6)


def test_equal_captions_are_embedded_once_and_given_to_all(towers: ClipTowers, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    tokenizer = towers.tokenizer
    monkeypatch.setattr(towers, "tokenizer", lambda texts: (seen.extend(texts), tokenizer(texts))[1])
    repeated = [*CAPTIONS, *CAPTIONS[::-1]]
    rows = towers.embed_texts(repeated)
    assert sorted(seen) == sorted(set(CAPTIONS))
    np.testing.assert_array_equal(rows[: len(CAPTIONS)], rows[len(CAPTIONS) :][::-1])
    alone = np.concatenate([towers.embed_texts([caption]) for caption in repeated])
    np.testing.assert_allclose(rows, alone, atol=2e-6)
