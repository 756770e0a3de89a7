"""The system role: a network with its objective, cut into update phases that one loop can run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from winnow.component import Component, validate
from winnow.errors import UserError
from winnow.registry import resolve
from winnow.tensors import load_tensors

__all__ = ["Batch", "Group", "Phase", "System", "build_system", "system_class"]


@dataclass(frozen=True)
class Batch:
    """A rank's share of a global batch."""

    images: Tensor
    """(B, 3, H, W) uint8 RGB, as the system's `crop` made them."""
    tokens: Tensor
    """(B, L) int64, as the system's `tokenize` made them."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        return Batch(self.images.to(device, non_blocking=True), self.tokens.to(device, non_blocking=True))

    def split(self, parts: int) -> list["Batch"]:
        """Cut it into micro-batches of equal size."""
        size = len(self.images) // parts
        return [
            Batch(*pair) for pair in zip(torch.split(self.images, size), torch.split(self.tokens, size), strict=True)
        ]


@dataclass(frozen=True)
class Group:
    """Parameters that one optimizer moves; a None takes the recipe's value."""

    parameters: Sequence[nn.Parameter]
    lr_scale: float = 1.0
    betas: tuple[float, float] | None = None
    weight_decay: float | None = None


@dataclass(frozen=True)
class Phase:
    """One update of one group: the generator in `System.phases` goes on only after the optimizer has moved."""

    name: str
    """Prefix of its terms in metrics.jsonl."""
    group: str
    """Which group moves; parameters of the others take no gradient in this phase."""
    terms: Callable[[], Mapping[str, Tensor]]
    """Evaluate the objective: scalars by name. "loss" is minimised, the others are logged."""
    every: int = 1
    """Run in every k-th step only, the last of each k."""


class System(nn.Module):
    """Anything trainable. Subclasses nest a `Config`, build their networks in `__init__` and yield phases."""

    Config: ClassVar[type[Component]]
    couples_samples: ClassVar[bool] = False
    """True if the loss compares the samples of a batch, so that micro-batches would change it."""

    image_size: int
    """Side in pixels of the pictures it takes; of pictures that are not square the longer one."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def tiny(cls) -> Self:
        """Return the smallest valid instance, for the contract tests."""
        return cls(cls.Config.tiny())

    def crop(self, picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Cut a training picture, (H, W, 3) uint8 of any size, to what `phases` wants, (h, w, 3); called in threads."""
        raise NotImplementedError

    def tokenize(self, caption: str) -> Tensor:
        """Return a caption's tokens, (L,) int64 of constant length; called in threads."""
        raise NotImplementedError

    def groups(self) -> dict[str, Group]:
        """Return what the optimizers move, by name."""
        return {"model": Group([parameter for parameter in self.parameters() if parameter.requires_grad])}

    def phases(self, batch: Batch, progress: float) -> Iterator[Phase]:
        """Yield the updates of one step, in order.

        Args:
            batch: this rank's samples, on the device.
            progress: share of the budget seen before this step, in [0, 1), for schedules.
        """
        raise NotImplementedError

    def after_step(self, phase: str, progress: float) -> None:
        """Do what follows the optimizer's move in a phase: clamp a scale, move a teacher, fill a queue."""

    def about(self) -> dict[str, Any]:
        """Return what else the weights need to be of use, preprocessing for one; it is put into every checkpoint."""
        return {}

    def cautions(self) -> list[str]:
        """Return what a person should know of this configuration before it is trained, a line each."""
        return []

    def save(self, out_dir: Path) -> None:
        """Write what the run is for; the weights present are the final ones (the moving average where kept)."""
        with (out_dir / "model.pt").open("wb") as file:
            torch.save(self.state_dict(), file)

    @classmethod
    def load(cls, out_dir: Path, fields: Mapping[str, Any]) -> Self:
        """Rebuild from what `save` wrote.

        Args:
            out_dir: the run's folder.
            fields: the Config's fields as the run had them.
        """
        system = cls(validate(cls.Config, fields, "system"))
        system.load_state_dict(load_tensors(out_dir / "model.pt"))
        return system


def build_system(spec: Mapping[str, Any]) -> System:
    """Build the system that a recipe's `system` section describes, with random weights.

    Raises:
        UserError: unknown system or field, or a bad value.
    """
    kind, fields = system_class(spec)
    system: System = kind(validate(kind.Config, fields, "system"))
    return system


def system_class(spec: Mapping[str, Any]) -> tuple[type[System], dict[str, Any]]:
    """Return the class that a `system` section names and the fields of its Config."""
    fields = dict(spec)
    if "use" not in fields:
        raise UserError("key `system.use` is required: it names a file of training/systems/, for example clip")
    kind: type[System] = resolve("training.systems", fields.pop("use"))
    return kind, fields
