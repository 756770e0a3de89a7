"""Small networks over stored CLIP embeddings: aesthetics, NSFW, watermarks.

A head's shape is whatever its file of weights says: linear layers in a row, before them at most one normalisation of
the embedding's dimensions. Only what a file cannot say, the functions between the layers, is fixed by the scorer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from filters.models.weights import file_sha256, natural_key
from filters.scorer import Batch, Scorer
from winnow.errors import UserError

__all__ = ["Head", "HeadScorer", "load_head"]

SUFFIXES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "mean", "variance")
"""Last parts of tensor names: of torch's Linear and BatchNorm1d, and of LAION's conversion of autokeras' layer."""


@dataclass(frozen=True)
class Head:
    """A chain of linear layers, float32."""

    scale: NDArray[np.float32]
    """(D,), with `shift` the normalisation: x * scale + shift."""
    shift: NDArray[np.float32]
    layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]]
    """(out, in) weight and (out,) bias of each layer; the last has one output."""

    @property
    def width(self) -> int:
        """Width of the embedding, D."""
        return int(self.layers[0][0].shape[1])

    def __call__(self, embeddings: NDArray[np.float32], relu: bool, sigmoid: bool) -> NDArray[np.float32]:
        """Run the head.

        Args:
            embeddings: (n, D) float32.
            relu: max(0, x) behind every layer but the last.
            sigmoid: 1 / (1 + exp(-x)) behind the last.

        Returns:
            (n,) float32.
        """
        x = embeddings * self.scale + self.shift
        for number, (weight, bias) in enumerate(self.layers, 1):
            x = x @ weight.T + bias
            if relu and number < len(self.layers):
                x = np.maximum(x, 0)
        out = x[:, 0]
        # the exponent of a negative number alone cannot overflow
        return np.where(out >= 0, 1, np.exp(-abs(out))) / (1 + np.exp(-abs(out))) if sigmoid else out


def load_head(path: Path) -> Head:
    """Read a head from a safetensors file or a torch state dict (never unpickling anything but tensors).

    Raises:
        UserError: the file cannot be read, or its tensors are no chain of layers that ends in one output.
    """
    modules: dict[str, dict[str, NDArray[Any]]] = {}
    for name, value in _read(path).items():
        module, _, suffix = name.rpartition(".")
        if suffix not in SUFFIXES:
            raise UserError(f"{str(path)!r} is no head: its tensor {name!r} ends in none of {', '.join(SUFFIXES)}")
        modules.setdefault(module, {})[suffix] = value
    linear = {name: m for name, m in modules.items() if "weight" in m and m["weight"].ndim == 2}
    norms = [m for name, m in modules.items() if name not in linear]
    # safetensors files are not in the order of the layers
    layers = [linear[name] for name in sorted(linear, key=natural_key)]
    shapes = [layer["weight"].shape for layer in layers]
    fits = all(before[0] == after[1] for before, after in pairwise(shapes))
    if not layers or not fits or shapes[-1][0] != 1 or len(norms) > 1:
        raise UserError(
            f"{str(path)!r} is no head: its layers, (out, in) {shapes}, and {len(norms)} normalisations; accepted are "
            "linear layers each as wide as the one before, the last with one output, and at most one normalisation"
        )
    scale, shift = _affine(norms[0], path) if norms else (np.ones(shapes[0][1]), np.zeros(shapes[0][1]))
    if scale.shape != (shapes[0][1],):
        raise UserError(f"{str(path)!r} is no head: it normalises {scale.shape} values for {shapes[0][1]} inputs")
    return Head(
        scale.astype(np.float32),
        shift.astype(np.float32),
        [
            (m["weight"].astype(np.float32), m.get("bias", np.zeros(len(m["weight"]))).astype(np.float32))
            for m in layers
        ],
    )


class HeadScorer(Scorer):
    """Column `score` (float32) of a head over the image embeddings of a `clip` scorer."""

    wants_images: ClassVar[bool] = False
    published: ClassVar[str]
    """Where such weights are published, by name."""
    relu: ClassVar[bool]
    sigmoid: ClassVar[bool]

    clip: str = "clip"
    """Key of the clip scorer; its model must be the one that the head was trained on."""
    weights: str = Field(min_length=1)
    """Path of the weights, safetensors or a torch state dict."""

    _head: Head | None = PrivateAttr(None)

    def needs(self) -> tuple[str, ...]:
        """Return the clip scorer."""
        return (self.clip,)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the weights.

        Raises:
            UserError: there is no such file.
        """
        return {"weights": f"sha256:{file_sha256(self._path())}"}

    def setup(self) -> None:
        """Read the weights."""
        self._head = load_head(self._path())

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Run the head over the embeddings, made of length 1 again: they are stored as float16.

        Raises:
            UserError: the embeddings have another width than the head.
        """
        assert self._head is not None, "setup() comes before score()"
        x = np.asarray(batch.columns[f"{self.clip}.image_embedding"]).astype(np.float32)
        if x.shape[1] != self._head.width:
            raise UserError(
                f"{self.weights!r} is a head for embeddings of {self._head.width} numbers, but the scorer "
                f"{self.clip!r} makes {x.shape[1]}; use the CLIP model that the head was trained on, or another head"
            )
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return {"score": self._head(x, self.relu, self.sigmoid)}

    def _path(self) -> Path:
        path = Path(self.weights)
        if not path.is_file():
            raise UserError(f"no weights at {self.weights!r}: `weights` is the path of a file such as {self.published}")
        return path


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file as float64 arrays, by name."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"cannot read weights from {str(path)!r}: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{str(path)!r} holds no state dict, a mapping of names to tensors; save `model.state_dict()`")
    return {name: value.double().numpy() for name, value in state.items()}


def _affine(norm: Mapping[str, NDArray[Any]], path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return scale and shift of a normalisation: BatchNorm1d without epsilon, or autokeras' mean and variance."""
    mean, variance = norm.get("running_mean", norm.get("mean")), norm.get("running_var", norm.get("variance"))
    if mean is None or variance is None:
        raise UserError(f"{str(path)!r} is no head: a normalisation without mean and variance, only {sorted(norm)}")
    scale = norm.get("weight", 1.0) / np.sqrt(variance)
    return scale, norm.get("bias", 0.0) - mean * scale
