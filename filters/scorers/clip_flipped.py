"""CLIP similarity of the caption and the mirrored picture: what cannot be read in a mirror no longer counts.

Source: Yu et al. 2023, The Devil Is in the Details (arXiv 2309.15954): pairs whose text in the picture carries the
score lose it when the picture is flipped horizontally.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import PrivateAttr

from filters.scorer import Batch, Scorer
from filters.scorers._shared_clip import clip_peer, similarities
from filters.scorers.clip import Clip

__all__ = ["ClipFlipped"]


class ClipFlipped(Scorer):
    """Column `similarity` (float32 cosine, unscaled) of the picture mirrored left to right."""

    clip: str = "clip"
    """Key of the clip scorer whose model and caption embeddings it uses."""

    _clip: Clip | None = PrivateAttr(None)

    def needs(self) -> tuple[str, ...]:
        """Return the clip scorer."""
        return (self.clip,)

    def bind(self, peers: Mapping[str, Scorer]) -> None:
        """Share the clip scorer's model.

        Raises:
            UserError: the scorer named in `clip` is of another kind.
        """
        self._clip = clip_peer("clip_flipped", self.clip, peers)

    def setup(self) -> None:
        """Load the clip scorer's model unless it is loaded."""
        assert self._clip is not None, "bind() comes before setup()"
        self._clip.towers()

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Embed the mirrored pictures."""
        assert self._clip is not None, "bind() comes before score()"
        images = [np.ascontiguousarray(image[:, ::-1]) for image in batch.images]
        texts = batch.columns[f"{self.clip}.text_embedding"]
        return {"similarity": similarities(self._clip, images, texts)}
