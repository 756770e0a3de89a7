"""Language of the caption by CLD3, Google's compact language detector: what LAION-5B and DataComp's laion2b filter use.

Source: Schuhmann et al. 2022, LAION-5B (arXiv 2210.08402); Gadre et al. 2023, DataComp (arXiv 2304.14108).
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from pydantic import PrivateAttr

from filters.scorer import Batch, Scorer
from winnow.errors import require

__all__ = ["Cld3"]

MAX_BYTES = 1000
"""Bytes of a caption that the detector reads, as in DataComp."""


class Cld3(Scorer):
    """Columns `language` (BCP-47 code), `confidence` (float32 in [0, 1]) and `reliable` (bool).

    A caption without characters has language "" and confidence 0. `reliable` is the detector's own verdict; DataComp's
    laion2b does not look at it.
    """

    wants_images: ClassVar[bool] = False

    _model: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the package that carries the weights."""
        require("gcld3", "curate")
        return {"weights": f"cld3-py=={version('cld3-py')}"}

    def setup(self) -> None:
        """Load the network compiled into the package."""
        self._model = require("gcld3", "curate").NNetLanguageIdentifier(0, MAX_BYTES)

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Classify each caption; newlines count as spaces."""
        guesses = [self._guess(caption.replace("\n", " ")) for caption in batch.captions]
        return {
            "language": [language for language, _, _ in guesses],
            "confidence": np.array([confidence for _, confidence, _ in guesses], np.float32),
            "reliable": np.array([reliable for _, _, reliable in guesses], bool),
        }

    def _guess(self, text: str) -> tuple[str, float, bool]:
        if not text.strip():
            return "", 0.0, False  # the network would name a language, with confidence
        guess = self._model.FindLanguage(text)
        return guess.language, guess.probability, guess.is_reliable
