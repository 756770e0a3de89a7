"""EasyOCR's `Reader` on the weights of the package `easyocr_en_models`: no download, float32, one network at a time."""

import hashlib
from pathlib import Path
from typing import Any

from winnow.errors import require

__all__ = ["open_reader", "weights_dir", "weights_hash"]


def open_reader(*, detector: bool, recogniser: bool) -> Any:
    """Return EasyOCR's English reader on the CPU with one or both of its networks.

    Raises:
        UserError: a package of the extra `text` is not installed.
    """
    return require("easyocr", "text").Reader(
        ["en"],
        detector=detector,
        recognizer=recogniser,
        quantize=False,
        gpu=False,
        model_storage_directory=str(weights_dir()),
        download_enabled=False,
        verbose=False,
    )


def weights_hash(file: str) -> str:
    """Return the SHA-256 of a packaged weights file."""
    return hashlib.sha256((weights_dir() / file).read_bytes()).hexdigest()


def weights_dir() -> Path:
    """Return the folder of the packaged weights."""
    return Path(require("easyocr_en_models", "text").model_dir())
