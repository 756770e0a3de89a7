"""Classification accuracy as CLIP_benchmark reports it: top-1, top-5 and the mean of the classes' recalls."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["accuracy"]


def accuracy(top: NDArray[np.integer], labels: NDArray[np.integer]) -> dict[str, float | None]:
    """Score ranked predictions.

    Args:
        top: (n, k) class indices, best first; k is 5, or the number of classes where there are fewer.
        labels: (n,) true class indices.

    Returns:
        acc1, acc5 (None with fewer than five classes, where it says nothing) and mean_per_class_recall over the
        classes that occur in `labels`, all in [0, 1].
    """
    hits = top == labels[:, None]
    recalls = [hits[labels == label, 0].mean() for label in np.unique(labels)]
    return {
        "acc1": float(hits[:, 0].mean()),
        "acc5": float(hits[:, :5].any(axis=1).mean()) if top.shape[1] >= 5 else None,
        "mean_per_class_recall": float(np.mean(recalls)),
    }
