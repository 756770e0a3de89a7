"""Recall@k of image-text retrieval from exact rank counts.

Source: Karpathy & Fei-Fei 2015 (arXiv 1412.2306); the definitions of CLIP_benchmark's retrieval task.
"""

import numpy as np
from numpy.typing import NDArray

from eval.finite import require_finite

__all__ = ["recall_at_k"]

TIE = 1e-6  # cosines nearer than this are equal: float32 rounding must not decide between two identical captions


def recall_at_k(
    images: NDArray[np.floating], texts: NDArray[np.floating], owner: NDArray[np.integer], ks: tuple[int, ...]
) -> dict[str, NDArray[np.float64]]:
    """Return per-query hits of both directions.

    text -> image: a caption hits when its image is among the k best. image -> text: an image hits when *at least one*
    of its captions is. Wrong candidates that tie with the right one are put in random order, and the hit is its
    expected value: without ties this is 0 or 1 as usual, and a model that gives all pairs one score gets chance, where
    counting only strictly better candidates would call it perfect.

    Args:
        images: (n, d) normalised features.
        texts: (m, d) normalised features.
        owner: (m,) index of each text's image.
        ks: the cut-offs.

    Returns:
        "image_retrieval" -> (m, len(ks)) and "text_retrieval" -> (n, len(ks)) hits in [0, 1].

    Raises:
        NotFiniteError: a feature is NaN or infinite.
    """
    require_finite(images, range(len(images)), "features of pictures")
    require_finite(texts, range(len(texts)), "features of texts")
    by_text = np.stack([_hits(text @ images.T, owner[i : i + 1], ks) for i, text in enumerate(texts)])
    positives = [np.flatnonzero(owner == i) for i in range(len(images))]
    by_image = np.stack([_hits(image @ texts.T, positives[i], ks) for i, image in enumerate(images)])
    return {"image_retrieval": by_text, "text_retrieval": by_image}


def _hits(scores: NDArray[np.floating], right: NDArray[np.integer], ks: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the chance that one of the `right` candidates is among the k best, for each k."""
    if not len(right):
        return np.zeros(len(ks))
    best = scores[right].max()
    wrong = np.ones(len(scores), dtype=bool)
    wrong[right] = False
    better = int((scores[wrong] > best + TIE).sum())
    tied = int((np.abs(scores[wrong] - best) <= TIE).sum())
    level = int((np.abs(scores[right] - best) <= TIE).sum())
    hits = []
    for k in ks:
        draws = k - better  # places left for the tied ones: `level` right and `tied` wrong in random order
        miss = 1.0 if draws <= 0 else 0.0 if draws > tied else _none_drawn(tied, level, draws)
        hits.append(1.0 - miss)
    return np.array(hits)


def _none_drawn(wrong: int, right: int, draws: int) -> float:
    """Return the chance that `draws` without replacement from wrong + right items hold no right one."""
    i = np.arange(draws)
    return float(np.prod((wrong - i) / (wrong + right - i)))
