"""The task role: a trained system in, named numbers and per-example rows out."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eval.statistics import Estimate
from winnow.component import Component

__all__ = ["Embedder", "Generator", "Task", "TaskResult"]


@runtime_checkable
class Embedder(Protocol):
    """A system that maps pictures and texts into one space."""

    def encode_images(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Map n (H, W, 3) uint8 RGB pictures to (n, d) float32, L2-normalised."""
        ...

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Map n texts to (n, d) float32, L2-normalised."""
        ...


@runtime_checkable
class Generator(Protocol):
    """A system that draws pictures for captions."""

    def sample(self, captions: list[str], generator: Any, num_steps: int, guidance: float) -> Any:
        """Draw (B, 3, H, W) float32 pictures in [-1, 1].

        Args:
            captions: B texts.
            generator: B torch.Generators, one a picture: all noise of picture i comes from the i-th, so that it is the
                same in every batch.
            num_steps: steps of the sampler.
            guidance: in the system's own convention.
        """
        ...


@dataclass(frozen=True)
class TaskResult:
    """What a task found out about one system."""

    metrics: dict[str, float | None]
    """Named numbers in DataComp's names; "main_metric" is the one that is compared."""
    main_metric: str
    """The name in `metrics` of the one that is compared: results carry it, nobody has to guess it from values."""
    num_samples: int
    """How many test examples were used."""
    interval: Estimate | None = None
    """The main metric with the 95 % interval of test-set sampling; None where no honest one exists."""
    rows: dict[str, list[Any]] = field(default_factory=dict)
    """Per-example columns, row-aligned, so that any later test is exact."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """File name -> encoded picture."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else the result depends on: extractor, resize code, captions of a grid."""


class Task(Component):
    """Put one question to a system. The key of its config entry names its files."""

    recipes: tuple[str, ...] = ()
    """The training recipes it applies to; () stands for all."""
    dataset: str = ""
    """The name in results beside the key, as DataComp's "Caltech-101" for `vtab/caltech101`; "" repeats the key."""

    def inputs(self) -> list[str]:
        """Return the paths of the files it reads; their content enters the key of every result."""
        return []

    def evaluate(self, system: Any) -> TaskResult:
        """Evaluate a system (an `Embedder` or a `Generator`, as the task needs).

        Raises:
            NotFiniteError: the system gives NaN or infinity; its result is then a row without a metric that says so.
            UserError: the data are malformed, or the system cannot do what the task needs.
        """
        raise NotImplementedError
