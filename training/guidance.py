"""Guidance: a function from velocity fields to a velocity field, so that samplers know nothing of it.

Source: Ho & Salimans 2022, Classifier-free diffusion guidance (arXiv 2207.12598), Eq. 6 with weight w; Zheng et al.
2023, Guided flows (arXiv 2311.13443) for velocities. Libraries that call the weight a scale s use s = 1 + w.
"""

from collections.abc import Callable

from torch import Tensor

__all__ = ["Velocity", "classifier_free"]

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x_t: (B, ...), t: (B,) in [0, 1]) -> dx/dt, shaped like x_t."""


def classifier_free(conditional: Velocity, unconditional: Velocity, weight: float) -> Velocity:
    """Return (1 + w) conditional - w unconditional.

    Args:
        conditional: velocity given the condition.
        unconditional: velocity without it.
        weight: w; 0 is the conditional field, evaluated alone, -1 the unconditional one, above 0 trades variety for
            agreement with the condition.
    """
    if weight == 0:
        return conditional
    if weight == -1:
        return unconditional

    def guided(x: Tensor, t: Tensor) -> Tensor:
        return (1 + weight) * conditional(x, t) - weight * unconditional(x, t)

    return guided
