"""CLIP similarity of the caption and the picture without its text: the score of T-MARS.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132).
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field, PrivateAttr

from filters.masking import Fill, mask_polygons
from filters.scorer import Batch, Scorer
from filters.scorers.clip import Clip
from winnow.errors import UserError

__all__ = ["MaskedClip"]


class MaskedClip(Scorer):
    """Columns `similarity` (float32 cosine; exactly the clip scorer's where there is no text) and `masked` (bool)."""

    clip: str = "clip"
    """Key of the clip scorer whose model and caption embeddings it uses."""
    boxes: str = "text_boxes"
    """Key of the text_boxes scorer."""
    fill: Fill = "ring_mean"
    """Colour of the masked regions, see `filters.masking`."""
    dilation: int = Field(default=0, ge=0)
    """Pixels by which each box grows on every side first."""
    ring_width: int = Field(default=4, ge=1)
    """Pixels of the ring of `ring_mean`."""
    constant: int = Field(default=127, ge=0, le=255)
    """Grey level of `constant`."""

    _clip: Clip | None = PrivateAttr(None)

    def needs(self) -> tuple[str, ...]:
        """Return the two scorers it reads."""
        return (self.clip, self.boxes)

    def bind(self, peers: Mapping[str, Scorer]) -> None:
        """Share the clip scorer's model.

        Raises:
            UserError: the scorer named in `clip` is of another kind.
        """
        peer = peers[self.clip]
        if not isinstance(peer, Clip):
            raise UserError(
                f"masked_clip: `clip` names {self.clip!r}, a {type(peer).__name__}; give the key of a clip scorer"
            )
        self._clip = peer

    def setup(self) -> None:
        """Load the clip scorer's model unless it is loaded."""
        assert self._clip is not None, "bind() comes before setup()"
        self._clip.towers()

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Embed the pictures that have text again, without it."""
        assert self._clip is not None, "bind() comes before score()"
        polygons = [
            [np.asarray(box, np.float32) for box in json.loads(text)] for text in batch.columns[f"{self.boxes}.boxes"]
        ]
        similarity = np.array(batch.columns[f"{self.clip}.similarity"], dtype=np.float32)
        masked = np.array([bool(boxes) for boxes in polygons], dtype=bool)
        if masked.any():
            rows = np.flatnonzero(masked)
            images = [self._mask(batch.images[row], polygons[row]) for row in rows]
            texts = np.asarray(batch.columns[f"{self.clip}.text_embedding"])[rows].astype(np.float32)
            texts /= np.linalg.norm(texts, axis=1, keepdims=True)  # float16 on disk
            similarity[rows] = np.einsum("nd,nd->n", self._clip.towers().embed_images(images), texts)
        return {"similarity": similarity, "masked": masked}

    def _mask(self, image: Any, polygons: list[Any]) -> Any:
        return mask_polygons(image, polygons, self.fill, self.dilation, self.ring_width, self.constant)
