"""Euler's method along a velocity field, from noise at t = 1 to data at t = 0.

Source: Liu, Gong & Liu 2022, Flow straight and fast (arXiv 2209.03003), section 2, with time reversed: t = 1 is noise.
"""

from torch import Tensor

from training.guidance import Velocity

__all__ = ["euler"]


def euler(velocity: Velocity, noise: Tensor, num_steps: int) -> Tensor:
    """Return samples; the field is evaluated at t_i = 1 - i/num_steps for i = 0 ... num_steps - 1 (NFE = num_steps).

    Args:
        velocity: field to follow.
        noise: (B, ...) draws of the prior.
        num_steps: equal steps.
    """
    x, step = noise, 1.0 / num_steps
    for i in range(num_steps):
        t = x.new_full((len(x),), 1 - i * step)
        x = x - step * velocity(x, t)
    return x
