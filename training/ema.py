"""A moving average of weights: smoother than the weights of any one step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Ema"]


class Ema:
    """Exponential moving average of a module's floating-point state; the rest is copied.

    The decay grows as (1 + step) / (10 + step) up to its final value, so that random initial weights are forgotten even
    by runs shorter than 1 / (1 - decay) steps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.average = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps (the first step is 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in self.module.state_dict().items():
            average = self.average[name]
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the module for the length of a block."""
        raw = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        self.module.load_state_dict(self.average)
        try:
            yield
        finally:
            self.module.load_state_dict(raw)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the average."""
        return self.average

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the average."""
        for name, average in self.average.items():
            average.copy_(state[name])
