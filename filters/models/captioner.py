"""Captions of a picture, drawn from any CoCa model of open_clip by nucleus sampling.

Source: Yu et al. 2022, CoCa (arXiv 2205.01917); Holtzman et al. 2020, nucleus sampling (arXiv 1904.09751).

Each picture is a forward pass of its own with a generator of its own, seeded by its uid: what is drawn depends neither
on the batch nor on the order of samples.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from filters.models.clip_inference import DTYPES, Preprocess
from filters.models.compute import cpu_threads, resolve_device, resolve_precision
from winnow.errors import UserError
from winnow.openclip import create_clip, model_name

__all__ = ["Captioner", "nucleus"]


class Captioner:
    """A captioner ready to write.

    Args:
        model: an open_clip name ("coca_ViT-B-32") or the path of a JSON architecture.
        pretrained: an open_clip tag or the path of a checkpoint; None for random weights.
        top_p: probability of the tokens to choose among.
        min_tokens: the end may not come within so many tokens, the start included.
        max_tokens: of a caption, start and end included.
        seed: another one gives other captions.
        precision: "auto", "fp32", "bf16" or "fp16".
        device: "auto" or a torch device name.
        threads: CPU threads of torch, 0 for `cpu_threads`'s choice.

    Raises:
        UserError: the model writes no captions.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None,
        *,
        top_p: float = 0.9,
        min_tokens: int = 5,
        max_tokens: int = 20,
        seed: int = 0,
        precision: str = "auto",
        device: str = "auto",
        threads: int = 0,
    ) -> None:
        import open_clip

        torch.set_num_threads(cpu_threads(threads))
        self.tokenizer = open_clip.get_tokenizer(model_name(model))
        self.device = resolve_device(device)
        self.dtype = DTYPES[resolve_precision(precision, self.device)]
        self.model = create_clip(model, pretrained).to(device=self.device, dtype=self.dtype).requires_grad_(False)
        if not hasattr(self.model, "text_decoder") or not hasattr(self.tokenizer, "sot_token_id"):
            raise UserError(
                f"{model!r} writes no captions; give a CoCa model with CLIP's tokenizer, such as coca_ViT-B-32 or "
                "coca_ViT-L-14 (tag mscoco_finetuned_laion2b_s13b_b90k)"
            )
        self.preprocess = Preprocess(self.model.visual.preprocess_cfg)
        scale, shift = self.preprocess.affine()
        self.scale, self.shift = (v.to(self.device, self.dtype).view(1, 3, 1, 1) for v in (scale, shift))
        self.top_p, self.min_tokens, self.max_tokens, self.seed = top_p, min_tokens, max_tokens, seed

    @torch.inference_mode()
    def captions(self, uid: str, image: NDArray[np.uint8], number: int) -> list[str]:
        """Write captions of one picture.

        Args:
            uid: the sample's, which seeds the draw.
            image: (H, W, 3) uint8 RGB.
            number: of captions.
        """
        digest = hashlib.sha256(f"{self.seed} {uid}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
        x = self.preprocess(image)[None].to(self.device).to(self.dtype)
        x = torch.addcmul(self.shift, x, self.scale)
        seen = self.model(x)
        latent, embeddings = (
            seen[key].expand(number, *seen[key].shape[1:]) for key in ("image_features", "image_embs")
        )
        start, end = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        tokens = torch.full((number, 1), start, device=self.device)
        while (length := tokens.shape[1]) < self.max_tokens and not (tokens == end).any(dim=1).all():
            logits = self._next(x, tokens, latent, embeddings)
            if length < self.min_tokens:
                logits[:, end] = -torch.inf
            tokens = torch.cat([tokens, nucleus(logits, self.top_p, generator).to(self.device)], dim=1)
        return [self._text(row, start, end) for row in tokens.tolist()]

    def _next(self, pixels: Any, tokens: Any, latent: Any, embeddings: Any) -> torch.Tensor:
        """Return the logits of the token that follows, (n, vocabulary) float32 on the CPU."""
        out = self.model(pixels, tokens, image_latent=latent, image_embs=embeddings, output_labels=False)
        logits: torch.Tensor = out["logits"][:, -1].float().cpu()
        return logits

    def _text(self, tokens: list[int], start: int, end: int) -> str:
        """Return the text between start and end."""
        stop = tokens.index(end) if end in tokens else len(tokens)
        text: str = self.tokenizer.decode([token for token in tokens[1:stop] if token != start])
        return text.strip()


def nucleus(logits: torch.Tensor, top_p: float, generator: torch.Generator) -> torch.Tensor:
    """Draw from the likeliest tokens that together have the probability top_p.

    Args:
        logits: (n, V) float32 on the CPU.
        top_p: in (0, 1]; the token that crosses it still counts.
        generator: source of randomness.

    Returns:
        (n, 1) int64.
    """
    probabilities, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities[before >= top_p] = 0
    return order.gather(1, torch.multinomial(probabilities, 1, generator=generator))
