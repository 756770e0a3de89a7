"""Logistic regression by Newton's method: a handful of features, two classes of equal weight, the same bits each time.

Source: iteratively reweighted least squares (Hastie et al. 2009, The Elements of Statistical Learning, section 4.4.1).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_logistic"]


def fit_logistic(
    features: NDArray[np.float64], positive: NDArray[np.bool_], ridge: float
) -> tuple[NDArray[np.float64], float]:
    """Return the coefficients and the intercept that minimise the weighted log loss plus ridge / 2 * |coefficients|^2.

    Each class weighs one half in sum, so the intercept does not depend on how rare positives are.

    Args:
        features: (n, d), about standardised.
        positive: (n,), at least one of either class.
        ridge: > 0; it keeps the solution finite where the classes can be separated.
    """
    n, d = features.shape
    x = np.concatenate([features, np.ones((n, 1))], axis=1)
    weight = 0.5 / np.where(positive, positive.sum(), n - positive.sum())
    penalty = np.append(np.full(d, ridge), 0.0)  # the intercept is free
    sign = np.where(positive, 1.0, -1.0)

    def loss(beta: NDArray[np.float64]) -> float:
        return float((weight * np.logaddexp(0, -sign * _dot(x, beta))).sum() + (penalty * beta**2).sum() / 2)

    beta = np.zeros(d + 1)
    for _ in range(100):
        chance = 1 / (1 + np.exp(-_dot(x, beta)))
        gradient = np.einsum("ni,n->i", x, weight * (chance - positive)) + penalty * beta
        curvature = np.einsum("ni,nj->ij", x * (weight * chance * (1 - chance))[:, None], x) + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while loss(beta - size * step) > loss(beta) and size > 1e-8:  # far from the solution a full step may overshoot
            size /= 2
        beta = beta - size * step
        if np.abs(step).max() < 1e-10:
            break
    return beta[:d], float(beta[d])


def _dot(x: NDArray[np.float64], beta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x @ beta summed in one fixed order, which the threads of a BLAS do not promise."""
    return np.einsum("ni,i->n", x, beta)  # type: ignore[no-any-return]
