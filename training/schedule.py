"""Learning rate against samples seen: linear warm-up, then half a cosine to zero."""

import math

__all__ = ["learning_rate"]


def learning_rate(peak: float, samples_seen: int, batch_size: int, warmup: int, total: int) -> float:
    """Return the learning rate of the step that starts at `samples_seen`.

    Args:
        peak: highest learning rate.
        samples_seen: samples before this step.
        batch_size: samples of this step; the first step of a warm-up is not wasted on a rate of 0.
        warmup: samples of linear warm-up.
        total: samples of the whole run.
    """
    if samples_seen < warmup:
        return peak * min(1.0, (samples_seen + batch_size) / warmup)
    progress = (samples_seen - warmup) / max(1, total - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
