"""Aesthetic score of the picture: LAION's linear head over CLIP embeddings, about 1 (poor) to 10 (beautiful).

Source: LAION-Aesthetics V1 (one linear layer) and V2 (768, 1024, 128, 64, 16, 1 without activations).
"""

from typing import ClassVar

from filters.models.heads import HeadScorer

__all__ = ["Aesthetic"]


class Aesthetic(HeadScorer):
    """Column `score` (float32): linear layers, nothing between them."""

    published: ClassVar[str] = (
        "sac+logos+ava1-l14-linearMSE.pth (V2, improved-aesthetic-predictor) or sa_0_4_vit_l_14_linear.pth (V1, "
        "LAION-AI/aesthetic-predictor), both for ViT-L-14 with OpenAI's weights"
    )
    relu: ClassVar[bool] = False
    sigmoid: ClassVar[bool] = False
