"""How specific a picture and a caption are, and how far apart, in the hyperbolic space of a MERU-like model (HYPE).

A general concept lies near the origin and has a wide cone of what it entails; a specific one lies far out. A picture is
specific where the cones of few captions hold it, a caption where its own cone holds few pictures.

Source: Kim et al. 2024, HYPE (arXiv 2404.17507): the mean over a reference set of exterior angle less half-aperture,
and the negative Lorentz distance of the pair. Desai et al. 2023, MERU (arXiv 2304.09172), sections 3.1 and 3.3, for the
exponential map, the distance and the cones, whose constant K is 0.1.

Shapes: n samples, r references, d embedding.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from filters.models.compute import cpu_threads, resolve_device
from filters.pool_scorer import PoolScorer, PoolScores
from filters.strategy import Pool
from filters.subset import draw
from filters.vectors.target_set import read_vectors, vectors_identity
from winnow.errors import UserError

__all__ = ["Hyperbolic"]

CONE = 0.1
"""K: how wide the cones are near the origin, where they are not defined."""
FARTHEST = math.asinh(2**15)
"""Distance from the origin, in units of the curvature's radius, beyond which nothing is placed."""
ROWS = 512
"""Samples that are compared with the references at a time."""


class Hyperbolic(PoolScorer):
    """Columns `image_specificity`, `text_specificity` (radians) and `negative_distance`, all float32; higher is better.

    The embeddings are those that a hyperbolic model projects before the exponential map, scaled as it scales them:
    vectors tangent at the origin, whose length is their distance from it. An ordinary CLIP's say nothing here.
    """

    image: str = "clip.image_embedding"
    """Column of the pictures' tangent vectors."""
    text: str = "clip.text_embedding"
    """Column of the captions' tangent vectors."""
    curvature: float = Field(default=1.0, gt=0)
    """c of the model; its space has the curvature -c."""
    image_references: str = ""
    """File or folder of tangent vectors of reference pictures (`filters.vectors.target_set.read_vectors`); "" draws."""
    text_references: str = ""
    """The same of reference captions."""
    num_references: int = Field(default=4096, ge=1)
    """Samples of the pool that are drawn by hash of uid where no file is given; all, if it has fewer."""
    seed: int = 0
    """Another seed draws others."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    def needs(self) -> tuple[str, ...]:
        """Read both embeddings."""
        return (self.image, self.text)

    def identity(self) -> Mapping[str, str]:
        """Return the hashes of the files of references."""
        files = {"image_references": self.image_references, "text_references": self.text_references}
        return {name: vectors_identity(path) for name, path in files.items() if path}

    def score(self, pool: Pool) -> PoolScores:
        """Score chunk after chunk, against references that stay in memory."""
        torch.set_num_threads(cpu_threads(self.threads))
        device = resolve_device(self.device)
        drawn = self._draw(pool) if not (self.image_references and self.text_references) else {}
        pictures = self._references(self.image_references, drawn, self.image, device)
        captions = self._references(self.text_references, drawn, self.text, device)
        parts: dict[str, list[NDArray[np.float32]]] = {
            "image_specificity": [],
            "text_specificity": [],
            "negative_distance": [],
        }
        for columns in pool.chunks(self.needs()):
            for start in range(0, columns.num_samples, ROWS):
                rows = slice(start, start + ROWS)
                image = self._points(columns[self.image][rows], device)
                text = self._points(columns[self.text][rows], device)
                self._check(image, captions, self.image, self.text_references or self.text)
                self._check(text, pictures, self.text, self.image_references or self.image)
                found = (
                    image.outside_cones_of(captions).mean(0),
                    pictures.outside_cones_of(text).mean(1),
                    -image.distance(text),
                )
                for part, values in zip(parts.values(), found, strict=True):
                    part.append(values.float().cpu().numpy())
        return PoolScores(columns={name: np.concatenate(part) for name, part in parts.items()})

    def _draw(self, pool: Pool) -> dict[str, NDArray[Any]]:
        """Return both embeddings of the samples that serve as references."""
        uids = np.concatenate([columns.uids for columns in pool.chunks(())])
        chosen = draw(uids, min(self.num_references, len(uids)), self.seed)
        found: dict[str, list[NDArray[Any]]] = {self.image: [], self.text: []}
        start = 0
        for columns in pool.chunks(self.needs()):
            rows = chosen[start : start + columns.num_samples]
            start += columns.num_samples
            for name, parts in found.items():
                parts.append(columns[name][rows])
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _references(self, path: str, drawn: Mapping[str, NDArray[Any]], column: str, device: str) -> "_Points":
        """Return the references of a file, or those that were drawn."""
        return self._points(read_vectors(path) if path else drawn[column], device)

    def _points(self, vectors: NDArray[Any], device: str) -> "_Points":
        """Return the points that (n, d) tangent vectors lead to."""
        tangents = torch.from_numpy(vectors.astype(np.float64)).to(device)
        return _Points.of(tangents, self.curvature)

    def _check(self, mine: "_Points", others: "_Points", column: str, source: str) -> None:
        """See to it that points can be compared.

        Raises:
            UserError: they are of another size.
        """
        width, other = mine.space.shape[1], others.space.shape[1]
        if width != other:
            raise UserError(
                f"{column!r} is of {width} numbers, the references {source!r} are of {other}: both must come from the "
                "same model"
            )


@dataclass(frozen=True)
class _Points:
    """Points on the upper sheet of a hyperboloid, float64: distances near 0 are differences of large numbers."""

    space: Tensor
    """(n, d)."""
    time: Tensor
    """(n,) sqrt(1 / c + |space|^2)."""
    curvature: float

    @classmethod
    def of(cls, tangents: Tensor, curvature: float) -> "_Points":
        """Follow (n, d) vectors that are tangent at the origin: the exponential map, MERU's Eq. 4."""
        root = math.sqrt(curvature)
        length = root * torch.linalg.vector_norm(tangents, dim=1, keepdim=True)
        grown = torch.sinh(length.clamp(max=FARTHEST)) / length.clamp_min(1e-12)
        space = torch.where(length > 1e-12, grown, torch.ones_like(grown)) * tangents
        return cls(space, torch.sqrt(1 / curvature + space.square().sum(1)), curvature)

    def distance(self, others: "_Points") -> Tensor:
        """Return (n,) Lorentz distances to as many other points, one each: MERU's Eq. 3."""
        inner = (self.space * others.space).sum(1) - self.time * others.time
        return torch.acosh((-self.curvature * inner).clamp_min(1)) / math.sqrt(self.curvature)

    def outside_cones_of(self, apexes: "_Points") -> Tensor:
        """Return (r, n): by how much each of n points lies outside each apex's cone, exterior angle less half-aperture.

        MERU's Eq. 5 and 6. Negative inside; at most pi, for a point that lies behind the origin.
        """
        c = self.curvature
        norm = torch.linalg.vector_norm(apexes.space, dim=1, keepdim=True)
        half_aperture = torch.asin((2 * CONE / (math.sqrt(c) * norm).clamp_min(1e-12)).clamp(max=1))
        inner = c * (apexes.space @ self.space.T - apexes.time[:, None] * self.time)
        beside = norm * (inner.square() - 1).clamp_min(1e-16).sqrt()
        cosine = (self.time + apexes.time[:, None] * inner) / beside.clamp_min(1e-16)
        return torch.acos(cosine.clamp(-1, 1)) - half_aperture
