import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

TINY = "configs/models/winnow-tiny.json"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny CLIP with random weights."""
    import torch

    from winnow.openclip import create_clip

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "model.pt"
    torch.save(create_clip(TINY).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def tiny_coca(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Architecture and checkpoint of a tiny CoCa with random weights."""
    import torch

    from winnow.openclip import create_clip

    text = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
    config = {
        "embed_dim": 32,
        "vision_cfg": vision | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": text | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": text | {"attn_pooler_heads": 2},
        "custom_text": True,
    }
    folder = tmp_path_factory.mktemp("coca")
    (folder / "coca-tiny.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = create_clip(str(folder / "coca-tiny.json"))
    for parameter in model.parameters():  # open_clip leaves some of CoCa's as it found the memory
        torch.nn.init.normal_(parameter, std=0.05)
    torch.save(model.state_dict(), folder / "model.pt")
    return str(folder / "coca-tiny.json"), str(folder / "model.pt")


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Smooth random pictures of several sizes, wide and tall, RGB."""
    rng = np.random.default_rng(0)
    sizes = [(256, 200), (120, 256), (64, 64), (300, 301), (70, 65), (40, 33)]
    small = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in sizes]
    pairs = zip(small, sizes, strict=True)
    return [np.asarray(Image.fromarray(s).resize(size, Image.Resampling.BICUBIC)) for s, size in pairs]


@pytest.fixture(scope="session")
def text_picture() -> np.ndarray:
    """A 256x192 picture with two lines of text: around x 20..150, y 30..60 and x 60..200, y 120..150."""
    picture = Image.new("RGB", (256, 192), (70, 120, 160))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(28)
    draw.text((20, 30), "SUMMER", font=font, fill="white")
    draw.text((60, 120), "big sale", font=font, fill="yellow")
    return np.asarray(picture)
