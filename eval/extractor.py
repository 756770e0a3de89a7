"""The extractor role: pictures in, features out, for distances between sets of pictures."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from winnow.component import Component

__all__ = ["Extractor"]


class Extractor(Component):
    """One frozen network and one way to resize for it: both decide the value of a Frechet distance."""

    metric_name: ClassVar[str]
    """What the distance is called; "FID" belongs to the 2015 Inception alone."""
    resize: ClassVar[str]
    """How pictures reach the network's size, in words."""

    def inputs(self) -> list[str]:
        """Return the paths of the weights it reads from the user's disk."""
        return []

    def extract(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Map n (H, W, 3) uint8 RGB pictures to (n, d) float32."""
        raise NotImplementedError
