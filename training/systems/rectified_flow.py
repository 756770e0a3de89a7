"""Rectified flow from noise to pictures, conditioned on captions, with classifier-free guidance.

Source: Liu, Gong & Liu 2022, Flow straight and fast (arXiv 2209.03003), Eq. 1, with the time of Esser et al. 2024
(arXiv 2403.03206): t = 0 is data, t = 1 is noise. Guidance: Ho & Salimans 2022 (arXiv 2207.12598).
B: pictures, L: context length; x: data, z: noise, x_t = (1 - t) x + t z, target z - x.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from training.crops import center_crop
from training.guidance import Velocity, classifier_free
from training.networks.caption_encoder import CaptionEncoder, Context
from training.networks.unet import UNet
from training.system import Batch, Phase, System
from winnow.component import Component
from winnow.registry import resolve

__all__ = ["RectifiedFlow"]


class RectifiedFlow(System):
    """A U-Net that learns the velocity z - x of straight paths, and follows it back from noise."""

    class Config(Component):
        """Fields of `system: {use: rectified_flow}`."""

        image_size: int = Field(default=32, ge=8)
        """Side of the pictures in pixels: a multiple of patch times 2 per level after the first."""
        channels: int = Field(default=32, ge=8)
        """Channels of the U-Net's finest level."""
        multipliers: tuple[int, ...] = (1, 2, 4)
        """Channel factor of each level."""
        blocks: int = Field(default=1, ge=1)
        """Residual blocks per level."""
        attention: tuple[int, ...] = (1, 2)
        """Levels with attention to themselves and to the caption; 0 is the finest."""
        patch: int = Field(default=2, ge=1)
        """Side of the pixel squares folded into channels at the input; 1 is slower and finer."""
        text_width: int = Field(default=128, ge=16)
        """Width of the caption encoder."""
        text_layers: int = Field(default=2, ge=0)
        """Transformer blocks of the caption encoder."""
        context_length: int = Field(default=24, ge=3)
        """Tokens of a caption that are read."""
        caption_dropout: float = Field(default=0.1, ge=0, le=1)
        """Share of training captions replaced by the null caption, which guidance needs."""
        sigma_data: float = Field(default=0.5, gt=0)
        """Standard deviation of pixels in [-1, 1], for the network's preconditioning."""
        sampler: str = "heun"
        """A file of training/samplers/."""

        @classmethod
        def tiny(cls) -> Self:
            """Return the smallest valid instance, for the contract tests."""
            return cls(image_size=16, channels=16, multipliers=(1, 2), attention=(1,), text_width=16, text_layers=1)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        from open_clip.tokenizer import SimpleTokenizer

        self.image_size = config.image_size
        self.captions = CaptionEncoder(config.text_width, config.text_layers, config.context_length)
        self.unet = UNet(
            config.channels, config.multipliers, config.blocks, config.attention, config.patch, config.text_width
        )
        self._tokenizer = SimpleTokenizer(context_length=config.context_length)

    def crop(self, picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Take the centred square: what the model shall draw is whole pictures."""
        return center_crop(picture, (self.image_size, self.image_size))

    def tokenize(self, caption: str) -> Tensor:
        """Return open_clip's byte-pair tokens, (L,)."""
        tokens: Tensor = self._tokenizer([caption])[0]
        return tokens

    def phases(self, batch: Batch, progress: float) -> Iterator[Phase]:
        """Yield the one update."""
        yield Phase("flow", "model", lambda: self._terms(batch))

    def velocity(self, tokens: Tensor, drop: Tensor) -> Velocity:
        """Return the learned field given captions.

        Args:
            tokens: (B, L).
            drop: (B,) bool, True where the null caption shall stand in.
        """
        return partial(_evaluate, self.unet, self.captions(tokens, drop), self.config.sigma_data)

    @torch.no_grad()
    def sample(
        self,
        captions: Sequence[str],
        generator: torch.Generator | Sequence[torch.Generator],
        num_steps: int = 25,
        guidance: float = 2.0,
    ) -> Tensor:
        """Draw one picture per caption.

        Args:
            captions: B captions; "" draws without condition.
            generator: source of the noise, on the CPU, so that devices agree on it: one for all, or one a picture,
                whose noise is then the same in every batch.
            num_steps: steps of the config's sampler.
            guidance: w of `classifier_free`; 0 follows the captions as they were learnt.

        Returns:
            (B, 3, H, W) float32 in [-1, 1]; NaN where the network gave no number.
        """
        device = next(self.parameters()).device
        generators = [generator] * len(captions) if isinstance(generator, torch.Generator) else generator
        shape = (3, self.image_size, self.image_size)
        noise = torch.stack([torch.randn(shape, generator=source) for source in generators]).to(device)
        tokens = torch.stack([self.tokenize(caption) for caption in captions]).to(device)
        keep = torch.zeros(len(captions), dtype=torch.bool, device=device)
        field = classifier_free(self.velocity(tokens, keep), self.velocity(tokens, ~keep), guidance)
        sampler: Callable[..., Tensor] = resolve("training.samplers", self.config.sampler)
        drawn = sampler(field, noise, num_steps).float()
        return torch.where(drawn.isfinite(), drawn.clamp(-1, 1), torch.nan)  # infinity is no white

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of a batch at random times, noises and dropped captions."""
        x = batch.images.float() / 127.5 - 1
        drop = torch.rand(len(x), device=x.device) < self.config.caption_dropout
        return {
            "loss": flow_loss(self.velocity(batch.tokens, drop), x, torch.randn_like(x), torch.rand_like(x[:, 0, 0, 0]))
        }


def flow_loss(velocity: Velocity, x: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """Return the mean of |v(x_t, t) - (z - x)|^2 over pictures and pixels, x_t = (1 - t) x + t z.

    Args:
        velocity: field to judge.
        x: (B, ...) data.
        z: (B, ...) noise.
        t: (B,) times in [0, 1].
    """
    time = t.view(-1, *[1] * (x.ndim - 1))
    return F.mse_loss(velocity((1 - time) * x + time * z, t).float(), z - x)


def _evaluate(unet: Any, context: Context, sigma: float, x: Tensor, t: Tensor) -> Tensor:
    """Return the velocity as its best linear estimate from x_t plus what the network adds, all of unit scale.

    For data of mean 0 and variance sigma^2, var = t^2 + (1 - t)^2 sigma^2 is the variance of x_t, the covariance of
    z - x and x_t is t - (1 - t) sigma^2, and sigma^2 / var is the variance of what no linear estimate explains. This is
    the preconditioning of Karras et al. 2022 (arXiv 2206.00364, Eq. 7) for straight paths: the network need not
    learn to copy noise, which a small one does for most of a short training.
    """
    time = t.view(-1, *[1] * (x.ndim - 1))
    variance = time**2 + (1 - time) ** 2 * sigma**2
    linear = (time - (1 - time) * sigma**2) / variance * x
    velocity: Tensor = linear + sigma * variance.rsqrt() * unet(x * variance.rsqrt(), t, context)
    return velocity
