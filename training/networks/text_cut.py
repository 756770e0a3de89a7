"""open_clip's text tower without the work on padding: the token matrix is cut at the longest caption of the batch."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["encode_text"]


def encode_text(model: Any, tokens: Tensor) -> Tensor:
    """Return unnormalised text embeddings, (B, D), equal to `model.encode_text(tokens)` up to rounding.

    In a causal tower that pools at the end-of-text token nothing to its right has any effect, so columns beyond the
    last end of text are not computed. Other towers go the usual way.

    Args:
        model: an open_clip model.
        tokens: (B, L) int64.
    """
    tower = getattr(model, "text", model)
    if not _can_cut(tower):
        embedding: Tensor = model.encode_text(tokens)
        return embedding
    end = _end_of_text(tower, tokens)
    length = int(end.max()) + 1
    x = tower.token_embedding(tokens[:, :length]) + tower.positional_embedding[:length]  # (B, l, width)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    x = tower.ln_final(x[torch.arange(len(x), device=x.device), end])  # (B, width)
    projection = tower.text_projection
    if projection is None:
        return x  # type: ignore[no-any-return]
    return projection(x) if isinstance(projection, torch.nn.Module) else x @ projection  # type: ignore[no-any-return]


def _pool_type(tower: Any) -> str:
    """Return how the tower pools; the built-in CLIP class holds its text tower's parts itself."""
    return str(getattr(tower, "pool_type", getattr(tower, "text_pool_type", "")))


def _can_cut(tower: Any) -> bool:
    """Tell whether the tower is open_clip's own, causal, and pools at the end of text."""
    from open_clip.model import CLIP
    from open_clip.transformer import TextTransformer

    return (
        isinstance(tower, CLIP | TextTransformer)
        and tower.attn_mask is not None
        and getattr(tower, "cls_emb", None) is None
        and not getattr(tower, "output_tokens", False)
        and _pool_type(tower) in ("argmax", "eos")
    )


def _end_of_text(tower: Any, tokens: Tensor) -> Tensor:
    """Return the position of the end-of-text token, (B,)."""
    if _pool_type(tower) == "argmax":
        return tokens.argmax(dim=-1)
    end_id = int(tower.eos_id if hasattr(tower, "eos_id") else tower.text_eos_id)
    return torch.eq(tokens, end_id).int().argmax(dim=-1)
