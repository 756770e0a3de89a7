"""NormSim: how similar a picture is to a target set; with p = 2 the variance alignment score.

Source: Wang et al. 2024 (arXiv 2405.19547): NormSim_p(x) = || T x ||_p over the target embeddings T; p = inf is the
highest similarity. Wang et al. 2024, VAS (arXiv 2402.02055): x' C x with C the mean of t t' over the target, which is
the square of NormSim_2 divided by their number: the same order of samples.

Shapes: n samples, t targets, d embedding.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_serializer, field_validator, model_validator

from filters.models.compute import cpu_threads, resolve_device
from filters.pool_scorer import PoolScorer, PoolScores
from filters.strategy import Pool
from filters.vectors.embeddings import BLOCK_ROWS, unit
from filters.vectors.target_set import TargetSet
from winnow.errors import UserError

__all__ = ["NormSim"]

TARGETS_AT_ONCE = 16_384


class NormSim(PoolScorer):
    """Column `score` (float32): NormSim of the sample's picture and the target set.

    With p 2 the target is a (d, d) matrix and its size costs nothing; any other p multiplies every sample with every
    target. Samples are read chunk by chunk: the pool is never in memory.
    """

    embedding: str = "clip.image_embedding"
    """Column of embeddings; they are scaled to length 1 first."""
    target: TargetSet | None = None
    """Embeddings of the target set, by the model of `embedding`; "pool", for p 2 alone, is the pool itself (VAS-D)."""
    p: float = Field(default=2.0, gt=0)
    """Of the norm; inf takes the highest similarity itself, not its absolute value."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    @field_validator("target", mode="before")
    @classmethod
    def _pool(cls, value: Any) -> Any:
        return None if value == "pool" else value

    @field_serializer("p")
    def _plain(self, p: float) -> float | str:
        return "inf" if math.isinf(p) else p  # JSON knows no infinity

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.target is None and self.p != 2:
            raise UserError(f"the target `pool` goes with `p: 2`, not {self.p}: give the path of a target set")
        return self

    def needs(self) -> tuple[str, ...]:
        """Read the embeddings."""
        return (self.embedding,)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the target set."""
        return self.target.identity() if self.target else {}

    def score(self, pool: Pool) -> PoolScores:
        """Score chunk after chunk."""
        torch.set_num_threads(cpu_threads(self.threads))
        device = resolve_device(self.device)
        width = next(iter(pool.chunks([self.embedding])))[self.embedding].shape[1]
        norm = self._norm(pool, width, device)
        parts = []
        for vectors in self._blocks(pool):
            parts.append(norm(torch.from_numpy(vectors).to(device)).float().cpu().numpy())
        return PoolScores(columns={"score": np.concatenate(parts)})

    def _norm(self, pool: Pool, width: int, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the function from (m, d) samples to their (m,) scores."""
        blocks = [self.target.check(width, self.embedding)] if self.target else self._blocks(pool)
        if self.p == 2:
            second = torch.zeros(width, width, dtype=torch.float64)
            for block in blocks:
                second += torch.from_numpy(block.T @ block)
            second = second.float().to(device)
            return lambda x: torch.einsum("nd,nd->n", x @ second, x).clamp_min(0).sqrt()
        targets = torch.split(torch.from_numpy(next(iter(blocks))).to(device), TARGETS_AT_ONCE)
        if math.isinf(self.p):
            return lambda x: torch.stack([(x @ t.T).amax(1) for t in targets]).amax(0)
        p = self.p
        return lambda x: torch.stack([(x @ t.T).abs_().pow_(p).sum(1) for t in targets]).double().sum(0).pow(1 / p)

    def _blocks(self, pool: Pool) -> Iterator[NDArray[np.float32]]:
        """Yield the samples' embeddings, some rows at a time, of length 1."""
        for columns in pool.chunks([self.embedding]):
            vectors = columns[self.embedding]
            for start in range(0, len(vectors), BLOCK_ROWS):
                yield unit(vectors[start : start + BLOCK_ROWS])
