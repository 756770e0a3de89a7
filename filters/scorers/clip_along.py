"""CLIP similarity along a fine-tuning run: the mean over its checkpoints, the score of C-SSFT.

Pairs that a model fine-tuned on clean captions forgets, or never learns, are suspect. Source: Maini et al. 2022,
Characterizing Datapoints via Second-Split Forgetting (arXiv 2210.15031); on captions in T-MARS (arXiv 2307.03132).
"""

import glob
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from filters.models.compute import resolve_device, resolve_precision
from filters.models.weights import natural_key, weights_identity
from filters.scorer import Batch, Scorer
from winnow.errors import UserError

__all__ = ["ClipAlong"]


class ClipAlong(Scorer):
    """Columns `similarity` (float32, mean cosine over the checkpoints) and `similarity_std` (float32, over the same).

    All checkpoints are in memory at once (ViT-B/32: 0.3 GB each in bfloat16): they take turns on every batch.
    """

    model: str = "ViT-B-32-quickgelu"
    """The architecture of all checkpoints: an open_clip name or the path of a JSON file."""
    checkpoints: list[str] = Field(min_length=1)
    """Paths or globs of checkpoints, in order: `RUN/filternet/<network>/snapshots/*.pt`, or any of open_clip's."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """As of the scorer `clip`."""
    batch_size: int = Field(default=64, ge=1, exclude=True)
    """Samples in one forward pass."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    _towers: list[Any] = PrivateAttr(default_factory=list)

    def identity(self) -> Mapping[str, str]:
        """Return the hash over the checkpoints' hashes in order, their number, preprocessing and precision.

        Raises:
            UserError: a path or glob stands for no file.
        """
        from filters.models.clip_inference import PREPROCESSING

        paths = self._paths()
        hashes = " ".join(weights_identity(self.model, path) for path in paths)
        return {
            "weights": hashlib.sha256(hashes.encode()).hexdigest(),
            "snapshots": str(len(paths)),
            "preprocessing": PREPROCESSING,
            "precision": resolve_precision(self.precision, resolve_device(self.device)),
        }

    def setup(self) -> None:
        """Load every checkpoint."""
        from filters.models.clip_inference import ClipTowers

        self._towers = [
            ClipTowers(
                self.model,
                path,
                precision=self.precision,
                device=self.device,
                threads=self.threads,
                batch_size=self.batch_size,
            )
            for path in self._paths()
        ]

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Multiply picture and caption embeddings under each checkpoint."""
        # resized once: a picture that has the network's size passes through the later resizes as it is
        preprocess = self._towers[0].preprocess
        images = [preprocess(image).permute(1, 2, 0).numpy() for image in batch.images]
        along = np.stack(
            [np.einsum("nd,nd->n", t.embed_images(images), t.embed_texts(batch.captions)) for t in self._towers]
        ).astype(np.float64)
        return {
            "similarity": along.mean(axis=0).astype(np.float32),
            "similarity_std": along.std(axis=0).astype(np.float32),
        }

    def _paths(self) -> list[str]:
        """Return the files, those of one glob in the order of the numbers in their names."""
        paths: list[str] = []
        for pattern in self.checkpoints:
            found = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern), key=natural_key)
            if not found:
                raise UserError(
                    f"clip_along: no checkpoint at {pattern!r}; `checkpoints` are paths or globs of files, such as "
                    "the snapshots of a network of the stage `filternet`, RUN/filternet/<network>/snapshots/*.pt"
                )
            paths += found
        return paths
