"""CLIP similarity of picture and caption, with both embeddings.

Source: Radford et al. 2021 (arXiv 2103.00020); as a filter, Schuhmann et al. 2021, LAION-400M (arXiv 2111.02114).
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from filters.compute import resolve_device, resolve_precision
from filters.scorer import Batch, Scorer
from winnow.errors import UserError

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
        from filters.clip_inference import PREPROCESSING

        return {
            "weights": _weights_identity(self.model, self.pretrained),
            "preprocessing": PREPROCESSING,
            "precision": resolve_precision(self.precision, resolve_device(self.device)),
        }

    def setup(self) -> None:
        """Load the model."""
        self.towers()

    def towers(self) -> Any:
        """Return the loaded `ClipTowers`; scorers that are bound to this one share them."""
        if self._towers is None:
            from filters.clip_inference import ClipTowers

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


def _weights_identity(model: str, pretrained: str) -> str:
    """Return "sha256:..." of a checkpoint file (and of a JSON architecture), or "model@tag"."""
    architecture = f"+sha256:{_sha256(Path(model))}" if model.endswith(".json") and Path(model).is_file() else ""
    path = Path(pretrained)
    if path.is_file():
        return f"sha256:{_sha256(path)}{architecture}"
    if path.suffix or len(path.parts) > 1:
        raise UserError(
            f"no CLIP checkpoint at {pretrained!r}: the stage `filternet` trains one (`winnow filternet CONFIG`), "
            "or set the scorer's `pretrained` to an existing file or an open_clip tag such as 'openai'"
        )
    import open_clip

    from winnow.openclip import model_name

    name = model_name(model)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags:
        raise UserError(
            f"no weights {pretrained!r} for {name}: neither a file nor one of {', '.join(tags) or 'no tags'}"
        )
    # open_clip only warns, and the similarities are then wrong by a few hundredths
    quick = bool(open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu", False))
    if quick != bool((open_clip.get_model_config(name) or {}).get("quick_gelu", False)):
        other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
        raise UserError(
            f"the weights {pretrained!r} were trained with{'' if quick else 'out'} QuickGELU, unlike the architecture "
            f"{name}; use model {other!r}"
        )
    return f"{name}@{pretrained}"


def _sha256(path: Path) -> str:
    """Return a file's hash; one reading serves all calls while the file stays as it is."""
    state = path.stat()
    return _sha256_of(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16)
def _sha256_of(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
