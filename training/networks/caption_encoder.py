"""A small caption encoder trained with the image network, and the packet of conditioning it makes.

Source: Lan et al. 2019, ALBERT (arXiv 1909.11942), section 3.1, for the factorised embedding: 49,408 tokens of a full
width would outweigh a small network.
B: captions, L: context length, D: width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["CaptionEncoder", "Context"]

END_OF_TEXT = 49407
VOCABULARY = 49408


@dataclass(frozen=True)
class Context:
    """What the image network may look at."""

    tokens: Tensor
    """(B, L, D) one vector per token."""
    mask: Tensor
    """(B, L) bool, True at tokens that count; at least one per caption."""
    pooled: Tensor
    """(B, D) their mean."""


class CaptionEncoder(nn.Module):
    """Token and position embedding, a few transformer blocks, and a learned null caption for guidance."""

    def __init__(self, width: int, layers: int, context_length: int, embedding_width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, embedding_width)
        self.expand = nn.Linear(embedding_width, width)
        self.position = nn.Parameter(torch.randn(context_length, width) * 0.02)
        self.null = nn.Parameter(torch.randn(width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, drop: Tensor) -> Context:
        """Encode captions.

        Args:
            tokens: (B, L) int64 of open_clip's SimpleTokenizer: start, words, end, zeros.
            drop: (B,) bool; True replaces the caption by the null caption, as does an empty caption.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device)
        mask = places <= tokens.argmax(dim=-1, keepdim=True)  # (B, L)
        x = self.expand(self.embedding(tokens)) + self.position
        x = self.norm(self.blocks(x, src_key_padding_mask=~mask))
        empty = drop | (tokens[:, 1] == END_OF_TEXT)
        x = torch.where(empty[:, None, None], self.null.to(x.dtype), x)
        mask = mask & ~(empty[:, None] & (places > 0))  # one null token: the caption's length is a hint too
        weight = mask.unsqueeze(-1).to(x.dtype)
        return Context(x, mask, (x * weight).sum(1) / weight.sum(1))
