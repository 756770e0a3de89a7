"""The ONNX networks of the package `rapidocr`: where they lie, and a session to run one in."""

import hashlib
from pathlib import Path
from typing import Any

from winnow.errors import UserError, require

__all__ = ["model_hash", "model_path", "open_session"]


def model_path(kind: str) -> Path:
    """Return the package's ONNX file of a kind, "det" or "rec".

    Raises:
        UserError: the package is not installed, or this version carries no such network.
    """
    folder = Path(str(require("rapidocr", "text").__file__)).parent / "models"
    found = sorted(folder.glob(f"*_{kind}_*.onnx"))
    if not found:
        raise UserError(
            f"no *_{kind}_*.onnx in {folder}: this version of rapidocr does not carry that network; "
            "install a wheel of rapidocr>=3"
        )
    return found[0]


def model_hash(kind: str) -> str:
    """Return the SHA-256 of that file."""
    return hashlib.sha256(model_path(kind).read_bytes()).hexdigest()


def open_session(kind: str, device: str) -> Any:
    """Return a session that computes each call on one thread, and may be called from several at once.

    Pictures are small: two of them on two threads are faster than each of them on both.

    Raises:
        UserError: CUDA is asked for, and this onnxruntime has none.
    """
    onnxruntime = require("onnxruntime", "text")
    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device.startswith("cuda") and not cuda:
        raise UserError(f"device {device!r} is asked for, but this onnxruntime has no CUDA; install onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if cuda and device != "cpu":
        providers.insert(0, "CUDAExecutionProvider")
    return onnxruntime.InferenceSession(str(model_path(kind)), options, providers=providers)
