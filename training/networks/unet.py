"""A U-Net for small pictures, conditioned on a time in [0, 1] and on a caption.

Source: Ho, Jain & Abbeel 2020, Denoising diffusion probabilistic models (arXiv 2006.11239), appendix B, for the shape;
Dhariwal & Nichol 2021 (arXiv 2105.05233), section 4, for adaptive group normalisation; Rombach et al. 2022 (arXiv
2112.10752), section 3.3, for cross-attention to text; Song et al. 2021 (arXiv 2011.13456), appendix H, NCSN++, for
pictures of every scale in and out. Folding patch x patch pixels into channels keeps CPUs useful.
B: pictures, C: channels, H W: sides, L: caption tokens, D: conditioning width.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.networks.caption_encoder import Context

__all__ = ["UNet"]


class UNet(nn.Module):
    """Noisy pictures, times and captions in, one value per pixel and channel out; exactly 0 at initialisation."""

    def __init__(
        self, channels: int, multipliers: Sequence[int], blocks: int, attention: Sequence[int], patch: int, width: int
    ) -> None:
        """Build the network.

        Args:
            channels: channels of the finest level.
            multipliers: channel factor of each level; each level halves the sides.
            blocks: residual blocks a level on the way down; the way up has one more.
            attention: levels (0 is the finest) that attend to themselves and to the caption.
            patch: side of the pixel squares folded into channels.
            width: D, width of the caption context and of the time embedding.
        """
        super().__init__()
        self.patch = patch
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.width = width
        sizes = [channels * multiplier for multiplier in multipliers]
        self.stem = nn.Conv2d(3 * patch**2, channels, 3, padding=1)
        # each level sees the reduced picture and paints at its own scale: noise is averaged away and a coarse picture
        # stands after a few hundred steps (loss 0.43 instead of 0.55 after 150 of 32 emoji pictures at 32 px)
        self.views = nn.ModuleList(nn.Conv2d(3, size, 1) for size in sizes)
        self.paint = nn.ModuleList(_zero(nn.Conv2d(size, 3, 3, padding=1)) for size in sizes)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, current = [channels], channels
        for level, size in enumerate(sizes):
            for _ in range(blocks):
                self.down.append(_Block(current, size, width, level in attention))
                skips.append(current := size)
            if level + 1 < len(sizes):
                current = sizes[level + 1]
                self.down.append(nn.Conv2d(size, current, 3, stride=2, padding=1))
                skips.append(current)
        self.middle = _Block(current, current, width, True)
        for level, size in reversed(list(enumerate(sizes))):
            for _ in range(blocks + 1):
                self.up.append(_Block(current + skips.pop(), size, width, level in attention))
                current = size
            if level > 0:
                self.up.append(nn.Upsample(scale_factor=2))
        self.norm = nn.GroupNorm(_groups(current), current)
        self.out = _zero(nn.Conv2d(current, 3 * patch**2, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, context: Context) -> Tensor:
        """Return (B, 3, H, W).

        Args:
            x: (B, 3, H, W) noisy pictures.
            t: (B,) in [0, 1].
            context: captions.
        """
        condition = F.silu(self.time(_frequencies(t, self.width)) + context.pooled)  # (B, D)
        cell = self.patch  # pixels a side that one place of h stands for
        h = self.stem(F.pixel_unshuffle(x, cell)) + self.views[0](F.avg_pool2d(x, cell))
        skips = [h]
        for stage in self.down:
            if isinstance(stage, _Block):
                h = stage(h, condition, context)
            else:
                cell *= 2
                h = stage(h) + self.views[_level(cell, self.patch)](F.avg_pool2d(x, cell))
            skips.append(h)
        h = self.middle(h, condition, context)
        picture = torch.zeros_like(x)
        for stage in self.up:
            if isinstance(stage, _Block):
                h = stage(torch.cat([h, skips.pop()], 1), condition, context)
            else:
                picture = picture + _enlarge(self.paint[_level(cell, self.patch)](h), cell)
                h, cell = stage(h), cell // 2
        picture = picture + _enlarge(self.paint[0](h), cell)
        return picture + F.pixel_shuffle(self.out(F.silu(self.norm(h))), self.patch)


def _level(cell: int, patch: int) -> int:
    """Return the level whose places stand for `cell` pixels a side; 0 is the finest."""
    return (cell // patch).bit_length() - 1


def _enlarge(picture: Tensor, factor: int) -> Tensor:
    """Scale (B, 3, h, w) up smoothly by a whole factor."""
    if factor == 1:
        return picture
    return F.interpolate(picture, scale_factor=factor, mode="bilinear", align_corners=False)


class _Block(nn.Module):
    """Residual block, then optionally attention; the conditioning scales and shifts the second normalisation."""

    def __init__(self, channels_in: int, channels: int, width: int, attends: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = (
            nn.GroupNorm(_groups(channels_in), channels_in),
            nn.GroupNorm(_groups(channels), channels),
        )
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.conv2 = _zero(nn.Conv2d(channels, channels, 3, padding=1))
        self.modulation = nn.Linear(width, 2 * channels)
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        self.attention = _Attention(channels, width) if attends else None

    def forward(self, x: Tensor, condition: Tensor, context: Context) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        out: Tensor = h + self.skip(x)
        return out if self.attention is None else self.attention(out, context)


class _Attention(nn.Module):
    """Every place attends to all places and to all tokens of the caption at once; padding is masked."""

    def __init__(self, channels: int, width: int, head_width: int = 32) -> None:
        super().__init__()
        self.heads = max(1, channels // head_width)
        self.norm = nn.GroupNorm(_groups(channels), channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.caption = nn.Linear(width, 2 * channels)
        self.out = _zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        batch, channels, height, width = x.shape
        q, k, v = self.qkv(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=-1)  # (B, H W, C) each
        text_k, text_v = self.caption(context.tokens).chunk(2, dim=-1)  # (B, L, C) each
        k, v = torch.cat([k, text_k], 1), torch.cat([v, text_v], 1)
        mask = F.pad(context.mask, (height * width, 0), value=True)[:, None, None, :]  # (B, 1, 1, H W + L)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        out: Tensor = x + self.out(h).transpose(1, 2).reshape(batch, channels, height, width)
        return out


def _frequencies(t: Tensor, width: int) -> Tensor:
    """Return sines and cosines of t at frequencies 1 ... 1000 in geometric steps, (B, width)."""
    rates = torch.exp(torch.linspace(0, math.log(1000), width // 2, device=t.device))
    angles = t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _groups(channels: int) -> int:
    """Return the number of groups: at most 32 as in the paper, of 8 channels or more.

    A group of one channel would take the channel's mean out of every picture, and with it colour and noise level.
    """
    return math.gcd(32, max(1, channels // 8))


def _zero(layer: nn.Module) -> nn.Module:
    """Zero a layer's parameters: residual branches and the network start as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
