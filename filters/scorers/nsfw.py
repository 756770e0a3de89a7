"""Probability that the picture is not safe for work: a network over CLIP embeddings.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), ViT-L/14, layers 768, 64, 512, 256, 1; LAION's autokeras heads,
the same for ViT-L/14 and 512, 32, 32, 1 for ViT-B/32. DataComp drops what is above 0.1; LAION counts 0.5 as unsafe.
"""

from typing import ClassVar

from filters.models.heads import HeadScorer

__all__ = ["Nsfw"]


class Nsfw(HeadScorer):
    """Column `score` (float32 in [0, 1]): linear layers with ReLU between them and a sigmoid behind the last."""

    published: ClassVar[str] = (
        "clip_ViT-L-14_openai_binary_nsfw_head.pth or clip_ViT-B-32_openai_binary_nsfw_head.pth "
        "(LAION-AI/CLIP-based-NSFW-Detector), or the weights `nsfw-image` of mlfoundations/dataset2metadata"
    )
    relu: ClassVar[bool] = True
    sigmoid: ClassVar[bool] = True
