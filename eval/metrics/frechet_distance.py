"""Frechet distance of two sets of features, each taken for a Gaussian.

Source: Heusel et al. 2017 (arXiv 1706.08500), Eq. 6; Dowson & Landau 1982.
"""

import numpy as np
from numpy.typing import NDArray

from eval.finite import require_finite

__all__ = ["frechet_distance"]


def frechet_distance(real: NDArray[np.floating], generated: NDArray[np.floating]) -> float:
    """Return |mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)), in float64 with unbiased covariances.

    Its bias grows as 1/n: compare values at equal n only.

    Args:
        real: (n, d) features.
        generated: (m, d) features.

    Raises:
        NotFiniteError: a feature is NaN or infinite.
        ValueError: fewer than two samples on a side, or different d.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(f"need (n, d) and (m, d) features, not {real.shape} and {generated.shape}")
    if min(len(real), len(generated)) < 2:
        raise ValueError(f"a covariance needs two samples a side, not {len(real)} and {len(generated)}")
    require_finite(real, range(len(real)), "features of real pictures")
    require_finite(generated, range(len(generated)), "features of generated pictures")
    mean1, root1 = _moments(real)
    mean2, root2 = _moments(generated)
    spread = (root1**2).sum() + (root2**2).sum()  # Tr S1 + Tr S2
    return float(((mean1 - mean2) ** 2).sum() + spread - 2 * _cross_trace(root1, root2))


def _moments(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean (d,) and R (n, d) with R'R = S, the unbiased covariance; float32 sums would lose a large offset."""
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    return mean, (features - mean) / np.sqrt(len(features) - 1)


def _cross_trace(root1: NDArray[np.float64], root2: NDArray[np.float64]) -> float:
    """Return Tr (S1 S2)^(1/2) without a square root of a product, whose imaginary parts need excuses."""
    if min(len(root1), len(root2)) < root1.shape[1]:
        # The non-zero eigenvalues of R1'R1 R2'R2 are the squared singular values of R1 R2': small when n is
        return float(np.linalg.svd(root1 @ root2.T, compute_uv=False).sum())
    # S1^(1/2) S2 S1^(1/2) is symmetric and has the eigenvalues of S1 S2
    values, vectors = np.linalg.eigh(root1.T @ root1)
    half = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return float(np.sqrt(np.linalg.eigvalsh(half @ (root2.T @ root2) @ half).clip(0)).sum())
