"""CLIP similarity of the caption and the picture without its text: the score of T-MARS.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132).
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field, PrivateAttr

from filters.gate import Gate
from filters.scorer import Batch, Scorer
from filters.scorers._shared_clip import clip_peer, similarities
from filters.scorers.clip import Clip
from filters.text.masking import Fill, Shape, mask_polygons

__all__ = ["MaskedClip"]


class MaskedClip(Scorer):
    """Columns `similarity` (float32 cosine; exactly the clip scorer's where there is no text), `masked`, `skipped`.

    `masked` tells whether text was painted over. `skipped` marks rows that a gate stopped, this scorer's or that of the
    boxes: their similarity is NaN, since nobody knows what it would be without text.
    """

    clip: str = "clip"
    """Key of the clip scorer whose model and caption embeddings it uses."""
    boxes: str = "text_boxes"
    """Key of the text_boxes scorer."""
    fill: Fill = "ring_mean"
    """Colour of the masked regions, see `filters.text.masking`."""
    shape: Shape = "polygon"
    """What is filled: each "polygon" as detected, or the axis-aligned "box" around it."""
    dilation: int = Field(default=0, ge=0)
    """Pixels by which each box grows on every side first."""
    inflation: float = Field(default=0.0, ge=0)
    """Share of its height by which each box grows on every side, beside `dilation`."""
    ring_width: int = Field(default=4, ge=1)
    """Pixels of the ring of `ring_mean`."""
    constant: int = Field(default=127, ge=0, le=255)
    """Grey level of `constant`."""
    only_if: Gate | None = None
    """Score again the rows alone that pass this gate. On the `text_boxes` scorer it saves the detection too."""

    _clip: Clip | None = PrivateAttr(None)

    def needs(self) -> tuple[str, ...]:
        """Return the scorers it reads."""
        return tuple(dict.fromkeys((self.clip, self.boxes, *((self.only_if.clip,) if self.only_if else ()))))

    def bind(self, peers: Mapping[str, Scorer]) -> None:
        """Share the clip scorer's model.

        Raises:
            UserError: the scorer named in `clip` is of another kind.
        """
        self._clip = clip_peer("masked_clip", self.clip, peers)

    def setup(self) -> None:
        """Load the clip scorer's model unless it is loaded."""
        assert self._clip is not None, "bind() comes before setup()"
        self._clip.towers()

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Embed the pictures that have text again, without it."""
        assert self._clip is not None, "bind() comes before score()"
        boxes = batch.columns[f"{self.boxes}.boxes"]
        skipped = np.array([text is None for text in boxes], bool)
        if self.only_if is not None:
            skipped |= ~self.only_if.passes(batch.columns)
        polygons = [
            [] if skip else [np.asarray(box, np.float32) for box in json.loads(text)]
            for text, skip in zip(boxes, skipped, strict=True)
        ]
        similarity = np.array(batch.columns[f"{self.clip}.similarity"], dtype=np.float32)
        similarity[skipped] = np.nan
        masked = np.array([bool(each) for each in polygons], dtype=bool)
        if masked.any():
            rows = np.flatnonzero(masked)
            images = [self._mask(batch.images[row], polygons[row]) for row in rows]
            texts = np.asarray(batch.columns[f"{self.clip}.text_embedding"])[rows]
            similarity[rows] = similarities(self._clip, images, texts)
        return {"similarity": similarity, "masked": masked, "skipped": skipped}

    def _mask(self, image: Any, polygons: list[Any]) -> Any:
        return mask_polygons(
            image, polygons, self.fill, self.dilation, self.ring_width, self.constant, self.inflation, self.shape
        )
