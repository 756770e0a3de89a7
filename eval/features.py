"""Turn an open_clip model into an `Embedder`, from memory or from the folder of a training run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.finite import require_finite
from eval.heldout.example import Example, HeldOut
from eval.task import Embedder
from winnow.errors import UserError

__all__ = ["OpenClipEmbedder", "as_embedder", "embed_heldout", "load_embedder"]

ARCHITECTURE = {"embed_dim", "vision_cfg", "text_cfg"}
"""Keys of a JSON file that describes an open_clip architecture."""


class OpenClipEmbedder:
    """Encode pictures and texts with an open_clip model, in float32 and with the model's own preprocessing."""

    def __init__(self, model: Any, tokenizer: Callable[[list[str]], Any] | None = None, batch_size: int = 64) -> None:
        """Wrap a model.

        Args:
            model: an open_clip model; its `visual.preprocess_cfg` gives size, mean and standard deviation.
            tokenizer: texts -> (n, context_length) token ids; the default is CLIP's own at the model's length.
            batch_size: pictures or texts at once.
        """
        import open_clip

        self.model = model.eval()
        self.tokenizer = tokenizer or open_clip.SimpleTokenizer(context_length=model.context_length)
        self.batch_size = batch_size
        size = getattr(model.visual, "preprocess_cfg", {}) or {}
        keep = {key: size[key] for key in ("mean", "std", "interpolation", "resize_mode", "fill_color") if key in size}
        self.preprocess = open_clip.image_transform(model.visual.image_size, is_train=False, **keep)

    def encode_images(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Map n (H, W, 3) uint8 RGB pictures to (n, d) float32, L2-normalised."""
        import torch
        from PIL import Image

        def encode(batch: list[NDArray[np.uint8]]) -> Any:
            pixels = torch.stack([self.preprocess(Image.fromarray(image)) for image in batch])
            return self.model.encode_image(pixels.to(self._device()), normalize=True)

        return self._batched(encode, images)

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Map n texts to (n, d) float32, L2-normalised."""
        return self._batched(
            lambda batch: self.model.encode_text(self.tokenizer(batch).to(self._device()), normalize=True), texts
        )

    def _batched(self, encode: Callable[[list[Any]], Any], items: list[Any]) -> NDArray[np.float32]:
        """Apply `encode` in batches without gradients."""
        import torch

        with torch.inference_mode():
            starts = range(0, len(items), self.batch_size)
            parts = [encode(items[start : start + self.batch_size]).float().cpu().numpy() for start in starts]
        features: NDArray[np.float32] = np.concatenate(parts)
        return features

    def _device(self) -> Any:
        """Return where the weights lie."""
        return next(self.model.parameters()).device


def embed_heldout(
    embedder: Embedder, heldout: HeldOut, batch_size: int, check: Callable[[Example], object]
) -> tuple[list[Example], NDArray[np.float32]]:
    """Embed all pictures of a held-out set.

    Args:
        embedder: of pictures.
        heldout: the set.
        batch_size: pictures decoded at once.
        check: is called with every example before its picture is decoded, to refuse it.

    Returns:
        The n examples without their pictures, and (n, d) finite features.

    Raises:
        NotFiniteError: some features are NaN or infinite.
    """
    examples: list[Example] = []
    parts: list[NDArray[np.float32]] = []
    images: list[NDArray[np.uint8]] = []
    for example in heldout.examples():
        check(example)
        images.append(example.pixels(heldout.decode))
        examples.append(replace(example, image=b""))
        if len(images) == batch_size:
            parts.append(embedder.encode_images(images))
            images = []
    if images:
        parts.append(embedder.encode_images(images))
    features = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    require_finite(features, [example.key for example in examples], "embeddings of pictures")
    return examples, features


def as_embedder(system: Any) -> Embedder:
    """Return `system` itself where it embeds, else wrap the open_clip model that it holds.

    Raises:
        UserError: it can do neither.
    """
    if isinstance(system, Embedder):
        return system
    model = getattr(system, "model", system)
    if hasattr(model, "encode_image") and hasattr(model, "encode_text"):
        return OpenClipEmbedder(model, getattr(system, "tokenizer", None))
    raise UserError(
        f"{type(system).__name__} embeds neither pictures nor texts; restrict the task to recipes that do with "
        "`recipes: [clip]`"
    )


def load_embedder(run_dir: str | Path) -> OpenClipEmbedder | None:
    """Load the CLIP model of a training run, with the preprocessing it was trained with.

    Returns:
        None where the folder holds no open_clip architecture: the run trained something else.
    """
    import json

    import open_clip

    from winnow.openclip import CONFIG_NAME, create_clip, model_name

    folder = Path(run_dir)
    for path in sorted(folder.glob("*.json"), key=lambda path: path.name != CONFIG_NAME):
        content = json.loads(path.read_text(encoding="utf-8"))
        if path.name == CONFIG_NAME or (isinstance(content, dict) and content.keys() >= ARCHITECTURE):
            model = create_clip(str(path), str(folder / "model.pt"))
            return OpenClipEmbedder(model, open_clip.get_tokenizer(model_name(str(path))))
    return None
