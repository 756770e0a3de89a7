"""The scorer role: samples in, columns out. A scorer needs models and pixels; it knows no Ray, no shards, no paths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from winnow.component import Component

__all__ = ["Batch", "Scorer", "settings_of"]


@dataclass
class Batch:
    """Some consecutive samples of one shard, decoded once for all scorers. Lists are row-aligned, length n."""

    uids: list[str]
    captions: list[str]
    meta: list[dict[str, Any]]
    """Each sample's JSON sidecar: original_width, original_height, sha256, ..."""
    images: list[NDArray[np.uint8]]
    """(H, W, 3) uint8 RGB, sizes vary; [] when no scorer of the pass needs pixels."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Columns of the scorers named in `needs`, as "scorer.column" -> list or array of n values."""

    def __len__(self) -> int:
        return len(self.uids)


class Scorer(Component):
    """Compute one column family. The key of its config entry is the folder its columns lie in."""

    wants_images: ClassVar[bool] = True
    """False for scorers of captions and metadata alone: a pass of only such scorers decodes nothing."""

    def needs(self) -> tuple[str, ...]:
        """Return the config keys of the scorers whose columns this one reads; they run first."""
        return ()

    def identity(self) -> Mapping[str, str]:
        """Return what the columns depend on beside the fields: weights hash, preprocessing id, precision.

        It enters the key of every product and the metadata of every column file; it must not load a model.
        """
        return {}

    def bind(self, peers: Mapping[str, "Scorer"]) -> None:
        """Take the scorers named in `needs`, by key; for one that shares a peer's model. Called before `setup`."""

    def setup(self) -> None:
        """Load models, once in each worker, before the first `score`."""

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Return the batch's columns.

        Returns:
            column name -> n values: a NumPy array (n,) or (n, d), or a list of str, float, list or None. The values
            of a sample depend on nothing but the sample (and, within floating-point rounding, on its batch).
        """
        raise NotImplementedError


def settings_of(scorer: Component, identity: Mapping[str, str]) -> dict[str, Any]:
    """Return what a scorer's columns depend on, as JSON: it enters their keys and their files' metadata.

    Args:
        scorer: a scorer or a pool scorer.
        identity: its identity.
    """
    kind = type(scorer)
    return {
        "scorer": f"{kind.__module__}:{kind.__qualname__}",
        "fields": scorer.model_dump(mode="json"),
        "identity": dict(identity),
    }
