"""Heun's method along a velocity field, from noise at t = 1 to data at t = 0: second order for two evaluations a step.

Source: Karras et al. 2022, Elucidating the design space of diffusion-based generative models (arXiv 2206.00364),
section 3, for the choice of method; the trapezoidal rule itself is textbook.
"""

from torch import Tensor

from training.guidance import Velocity

__all__ = ["heun"]


def heun(velocity: Velocity, noise: Tensor, num_steps: int) -> Tensor:
    """Return samples after `num_steps` equal steps (NFE = 2 num_steps).

    Args:
        velocity: field to follow; it is evaluated at t = 0 too, where a rectified flow is well defined.
        noise: (B, ...) draws of the prior.
        num_steps: equal steps.
    """
    x, step = noise, 1.0 / num_steps
    for i in range(num_steps):
        t = x.new_full((len(x),), 1 - i * step)
        slope = velocity(x, t)
        end_slope = velocity(x - step * slope, (t - step).clamp(min=0))
        x = x - step * (slope + end_slope) / 2
    return x
