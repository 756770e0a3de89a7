"""negCLIPLoss: CLIP similarity minus what caption and picture have in common with everything else of a batch.

Source: Wang et al. 2024, CLIPLoss and norm-based data selection (arXiv 2405.19547):
score_i = cos(x_i, y_i) - tau/2 * [log sum_j exp(cos(x_i, y_j)/tau) + log sum_j exp(cos(x_j, y_i)/tau)], the mean over
several cuts of the pool into random batches of 32,768.

Shapes: n samples, B batch, d embedding.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from filters.models.compute import cpu_threads, resolve_device
from filters.pool_scorer import PoolScorer, PoolScores
from filters.strategy import Pool
from filters.subset import hash_uids
from filters.vectors.embeddings import gather, unit

__all__ = ["NegClipLoss"]

ROWS = 1024
"""Rows of a batch that are multiplied with the whole batch at once: 128 MiB at the default batch size."""
LARGEST = 88.0
"""exp of this is just finite in float32."""
SMALLEST = 1e-25
"""Sums of exponentials below this have lost terms to underflow, and are made again."""


class NegClipLoss(PoolScorer):
    """Column `score` (float32, higher is better).

    Each shuffle cuts the samples, in the order of a hash of uid and shuffle, into batches. The last batch is filled up
    with samples of the one before it, whose scores stay as they are, so that every sample is compared with exactly
    `batch_size` samples; a smaller pool is one batch.
    """

    image_embedding: str = "clip.image_embedding"
    """Column of x."""
    text_embedding: str = "clip.text_embedding"
    """Column of y."""
    tau: float = Field(default=0.01, gt=0)
    """Temperature of the CLIP model: 0.01 for OpenAI's, 0.07 for one trained like DFN's."""
    batch_size: int = Field(default=32_768, ge=2)
    """B."""
    shuffles: int = Field(default=10, ge=1)
    """Cuts into batches that are averaged."""
    seed: int = 0
    """Of the shuffles."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    def needs(self) -> tuple[str, ...]:
        """Read both embeddings."""
        return (self.image_embedding, self.text_embedding)

    def score(self, pool: Pool) -> PoolScores:
        """Score the pool, batch by batch."""
        torch.set_num_threads(cpu_threads(self.threads))
        device = resolve_device(self.device)
        gathered = gather(pool, *self.needs())
        images, texts = (gathered.vectors[name] for name in self.needs())
        total = np.zeros(len(images))
        for shuffle in range(self.shuffles):
            order = np.argsort(hash_uids(gathered.uids, self.seed * self.shuffles + shuffle), kind="stable")
            for rows, new in _batches(order, self.batch_size):
                x, y = (torch.from_numpy(unit(vectors[rows])).to(device) for vectors in (images, texts))
                total[rows[new:]] += batch_scores(x, y, self.tau)[new:]
        scores = (total / self.shuffles).astype(np.float32)
        return PoolScores(columns={"score": gathered.in_pool_order(scores)})


def _batches(order: NDArray[np.intp], size: int) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Yield the rows of each batch, and how many at its start were in the batch before."""
    for start in range(0, len(order), size):
        first = max(0, min(start, len(order) - size))
        yield order[first : start + size], start - first


def batch_scores(x: torch.Tensor, y: torch.Tensor, tau: float) -> NDArray[np.float64]:
    """Return the (B,) scores of one batch.

    One exponential a pair serves its row and its column. All of them are shifted by one constant, just so far that
    the highest cosine there can be does not overflow; a sum that is then so small that it has lost terms is made again
    with its own maximum. That happens where no pair of a row comes near that cosine, at low temperatures.

    Args:
        x: (B, d) float32 of length 1.
        y: (B, d) float32 of length 1.
        tau: temperature.
    """
    num = len(x)
    shift = max(0.0, 1.001 / tau + math.log(num) - LARGEST)
    row_sums = torch.empty(num, dtype=torch.float64, device=x.device)
    column_sums = torch.zeros(num, dtype=torch.float64, device=x.device)
    for start in range(0, num, ROWS):
        rows = slice(start, start + ROWS)
        terms = torch.addmm(x.new_tensor(-shift), x[rows], y.T, alpha=1 / tau).exp_()  # (ROWS, B)
        row_sums[rows] = terms.sum(1).double()
        column_sums += terms.sum(0)
    logs = _logs(row_sums, shift, x, y, tau) + _logs(column_sums, shift, y, x, tau)
    cosine = torch.einsum("nd,nd->n", x, y).double()
    scores: NDArray[np.float64] = (cosine - tau / 2 * logs).cpu().numpy()
    return scores


def _logs(sums: torch.Tensor, shift: float, of: torch.Tensor, others: torch.Tensor, tau: float) -> torch.Tensor:
    """Return the (B,) logarithms of sums over `others`, in float64; those too small to be exact are made again."""
    logs = sums.log() + shift
    lost: Any = torch.nonzero(sums < SMALLEST)[:, 0]
    for rows in torch.split(lost, ROWS):
        logs[rows] = torch.logsumexp(of[rows] @ others.T / tau, 1).double()
    return logs
