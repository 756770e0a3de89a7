"""CLIP similarity of picture and caption, with both embeddings.

Source: Radford et al. 2021 (arXiv 2103.00020); as a filter, Schuhmann et al. 2021, LAION-400M (arXiv 2111.02114).
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from filters.models.compute import resolve_device, resolve_precision
from filters.models.weights import weights_identity
from filters.scorer import Batch, Scorer

__all__ = ["Clip"]


class Clip(Scorer):
    """Columns `similarity` (float32 cosine, unscaled), `image_embedding`, `text_embedding` (float16, of length 1)."""

    model: str = "ViT-B-32-quickgelu"
    """An open_clip name or the path of a JSON architecture file."""
    pretrained: str = Field(default="openai", min_length=1)
    """An open_clip tag or the path of a checkpoint."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the weights; "auto" takes bfloat16 where the hardware multiplies it. A part of the columns' identity."""
    batch_size: int = Field(default=64, ge=1, exclude=True)
    """Samples in one forward pass."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    _towers: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the weights and of the architecture, the preprocessing and the precision used here.

        Raises:
            UserError: there is no such checkpoint or tag, or the tag belongs to another activation function.
        """
        from filters.models.clip_inference import PREPROCESSING

        return {
            "weights": weights_identity(self.model, self.pretrained),
            "preprocessing": PREPROCESSING,
            "precision": resolve_precision(self.precision, resolve_device(self.device)),
        }

    def setup(self) -> None:
        """Load the model."""
        self.towers()

    def towers(self) -> Any:
        """Return the loaded `ClipTowers`; scorers that are bound to this one share them."""
        if self._towers is None:
            from filters.models.clip_inference import ClipTowers

            self._towers = ClipTowers(
                self.model,
                self.pretrained,
                precision=self.precision,
                device=self.device,
                threads=self.threads,
                batch_size=self.batch_size,
            )
        return self._towers

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Embed pictures and captions and multiply them row by row."""
        images = self.towers().embed_images(batch.images)
        texts = self.towers().embed_texts(batch.captions)
        return {
            "similarity": np.einsum("nd,nd->n", images, texts),
            "image_embedding": images.astype(np.float16),
            "text_embedding": texts.astype(np.float16),
        }
