"""What scorers need that score other pictures with the model and the caption embeddings of a `clip` scorer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.scorer import Scorer
from filters.scorers.clip import Clip
from winnow.errors import UserError

__all__ = ["clip_peer", "similarities"]


def clip_peer(scorer: str, key: str, peers: Mapping[str, Scorer]) -> Clip:
    """Return the clip scorer that another scorer names.

    Args:
        scorer: the file name of the one that asks, for the error.
        key: the config key it names in its field `clip`.
        peers: key -> scorer.

    Raises:
        UserError: that scorer is of another kind.
    """
    peer = peers[key]
    if not isinstance(peer, Clip):
        raise UserError(f"{scorer}: `clip` names {key!r}, a {type(peer).__name__}; give the key of a clip scorer")
    return peer


def similarities(clip: Clip, images: Sequence[NDArray[np.uint8]], text_embeddings: Any) -> NDArray[np.float32]:
    """Return the (n,) cosines of pictures and stored caption embeddings.

    Args:
        clip: whose model embeds the pictures.
        images: n arrays (H, W, 3) uint8 RGB.
        text_embeddings: (n, D), float16 as on disk.
    """
    texts = np.asarray(text_embeddings).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    return np.asarray(np.einsum("nd,nd->n", clip.towers().embed_images(images), texts))
