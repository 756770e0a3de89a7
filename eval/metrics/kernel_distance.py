"""Kernel distance (KID's formula): an unbiased squared maximum mean discrepancy, usable at small n.

Source: Binkowski et al. 2018 (arXiv 1801.01401), kernel (x.y / d + 1)^3; Gretton et al. 2012, Eq. 3.
"""

import numpy as np
from numpy.typing import NDArray

from eval.finite import require_finite

__all__ = ["kernel_distance"]


def kernel_distance(real: NDArray[np.floating], generated: NDArray[np.floating]) -> float:
    """Return the unbiased MMD^2 over all pairs; slightly negative values mean "no difference seen".

    Args:
        real: (n, d) features, n >= 2.
        generated: (m, d) features, m >= 2.

    Raises:
        NotFiniteError: a feature is NaN or infinite.
    """
    require_finite(real, range(len(real)), "features of real pictures")
    require_finite(generated, range(len(generated)), "features of generated pictures")
    x, y = real.astype(np.float64), generated.astype(np.float64)
    n, m, d = len(x), len(y), x.shape[1]

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        product: NDArray[np.float64] = (a @ b.T / d + 1) ** 3
        return product

    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * kernel(x, y).mean())
