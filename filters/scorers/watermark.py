"""Probability that the picture carries a watermark: a network over CLIP embeddings.

LAION-5B's own `pwatermark` comes from a network on pixels, whose weights do not fit here; a head is trained in minutes
on stored embeddings and a few thousand labels.
"""

from typing import ClassVar

from filters.models.heads import HeadScorer

__all__ = ["Watermark"]


class Watermark(HeadScorer):
    """Column `score` (float32 in [0, 1]): linear layers with ReLU between them and a sigmoid behind the last."""

    published: ClassVar[str] = (
        "the state dict of your own torch.nn.Sequential of Linear and ReLU with one output (a logit); none is published"
    )
    relu: ClassVar[bool] = True
    sigmoid: ClassVar[bool] = True
