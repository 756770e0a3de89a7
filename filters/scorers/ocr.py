"""What the text in a picture says, read inside boxes that are detected already, and how much of the caption it shows.

Source: Maini et al. 2023, T-MARS (arXiv 2307.03132), whose text-match baseline reads text; the rule of overlap is ours.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from filters.scorer import Batch, Scorer
from filters.text.recogniser import TextRecogniser, rectified
from filters.text.wordmatch import overlap
from winnow.component import build

__all__ = ["Ocr"]


class Ocr(Scorer):
    """Columns `text`, `num_words` (int32), `confidence` and `overlap` (float32 in [0, 1]).

    `text` holds the words in reading order, joined by single spaces; "" where nothing is read, null where the boxes are
    missing because a gate stopped the row. `confidence` is the mean over the lines that are kept, weighted by their
    characters, NaN without any. `overlap` is the share of the caption's distinct words that are among those read.
    """

    boxes: str = "text_boxes"
    """Key of the text_boxes scorer."""
    recogniser: str | dict[str, Any] = "ppocr"
    """A file of `filters/text/recognisers/` by name, or {use: name, and its fields}."""
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    """Confidence below which a line counts as not read: noise in the picture, most of the time."""

    _recogniser: TextRecogniser | None = PrivateAttr(None)

    def needs(self) -> tuple[str, ...]:
        """Return the scorer of the boxes."""
        return (self.boxes,)

    def identity(self) -> Mapping[str, str]:
        """Return the recogniser's fields and identity."""
        recogniser = self._build()
        return {"recogniser": recogniser.model_dump_json(), **recogniser.identity()}

    def setup(self) -> None:
        """Load the recogniser."""
        self._recogniser = self._build()
        self._recogniser.setup()

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Read all lines of the batch together."""
        assert self._recogniser is not None, "setup() comes before score()"
        lines: list[NDArray[np.uint8]] = []
        owners: list[int] = []
        text: list[str | None] = [None] * len(batch)
        for row, boxes in enumerate(batch.columns[f"{self.boxes}.boxes"]):
            if boxes is None:
                continue
            text[row] = ""
            for outline in reading_order([np.asarray(box, np.float32) for box in json.loads(boxes)]):
                lines.append(rectified(batch.images[row], outline))
                owners.append(row)
        read: list[list[tuple[str, float]]] = [[] for _ in range(len(batch))]
        for row, (words, confidence) in zip(owners, self._recogniser.recognise(lines), strict=True):
            if words.strip() and confidence >= self.min_confidence:
                read[row].append((" ".join(words.split()), confidence))
        sure, shares = np.full(len(batch), np.nan, np.float32), np.full(len(batch), np.nan, np.float32)
        for row, pieces in enumerate(read):
            if (shown := text[row]) is None:
                continue
            if pieces:
                text[row] = shown = " ".join(words for words, _ in pieces)
                sure[row] = np.average([c for _, c in pieces], weights=[len(words) for words, _ in pieces])
            shares[row] = overlap(batch.captions[row], shown)
        num_words = np.array([-1 if shown is None else len(shown.split()) for shown in text], np.int32)
        return {"text": text, "num_words": num_words, "confidence": sure, "overlap": shares}

    def _build(self) -> TextRecogniser:
        spec = {"use": self.recogniser} if isinstance(self.recogniser, str) else self.recogniser
        recogniser: TextRecogniser = build("filters.text.recognisers", spec, "recogniser", "ocr")
        return recogniser


def reading_order(outlines: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Sort outlines (4, 2) from top to bottom, those of one line from left to right.

    An outline continues a line if its centre lies within half a height of the line's first one.
    """
    lines: list[list[NDArray[np.float32]]] = []
    for outline in sorted(outlines, key=lambda box: (float(box[:, 1].mean()), float(box[:, 0].mean()))):
        if lines and outline[:, 1].mean() - lines[-1][0][:, 1].mean() < np.ptp(lines[-1][0][:, 1]) / 2:
            lines[-1].append(outline)
        else:
            lines.append([outline])
    return [outline for line in lines for outline in sorted(line, key=lambda box: float(box[:, 0].mean()))]
