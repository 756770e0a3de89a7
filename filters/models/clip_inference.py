"""Image and text towers of any open_clip model, for scoring: open_clip's own numbers, several times faster.

Savings, each exact or within a stated bound: low-precision weights where the hardware multiplies them; pictures resized
as uint8 and normalised as one fused multiply-add on the batch (pixel difference to Pillow: a few of 256 levels);
captions sorted by length and each batch cut at its longest end-of-text token (exact for causal towers), equal ones
embedded once; the last block of a tower computed for the one token that is pooled (exact).

Shapes: B batch, H W pixels, T tokens, D embedding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from filters.models.compute import cpu_threads, resolve_device, resolve_precision
from winnow.openclip import create_clip, model_name

__all__ = ["PREPROCESSING", "ClipTowers", "Preprocess"]

PREPROCESSING = "uint8-resize-1"
"""Name of the way from pixels to the network's input; it changes when the numbers do."""
CACHE_BATCH = 16
"""Pictures or captions at a time in float32 on a CPU: the activations of more leave its caches. ViT-B/32 takes 8 %
longer for pictures by 32, 26 % for captions by 64."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class ClipTowers:
    """A CLIP model ready to embed pictures and captions.

    Args:
        model: an open_clip name or the path of a JSON architecture.
        pretrained: an open_clip tag or the path of a checkpoint; None for random weights.
        precision: "auto", "fp32", "bf16" or "fp16".
        device: "auto" or a torch device name.
        threads: CPU threads of torch, 0 for `cpu_threads`'s choice. It is a setting of the whole process.
        batch_size: pictures or captions in one forward pass; no more than CACHE_BATCH in float32 on a CPU.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None,
        *,
        precision: str = "auto",
        device: str = "auto",
        threads: int = 0,
        batch_size: int = 64,
    ) -> None:
        import open_clip

        torch.set_num_threads(cpu_threads(threads))
        self.device = resolve_device(device)
        self.dtype = DTYPES[resolve_precision(precision, self.device)]
        in_cache = self.device == "cpu" and self.dtype == torch.float32
        self.batch_size = min(batch_size, CACHE_BATCH) if in_cache else batch_size
        self.model = create_clip(model, pretrained).to(device=self.device, dtype=self.dtype).requires_grad_(False)
        self.tokenizer = open_clip.get_tokenizer(model_name(model))
        self.preprocess = Preprocess(self.model.visual.preprocess_cfg)
        scale, shift = self.preprocess.affine()
        self.scale, self.shift = (v.to(self.device, self.dtype).view(1, 3, 1, 1) for v in (scale, shift))
        self.causal_text = _causal_text_tower(self.model)
        self.token_vision = _token_pooled_vision(self.model)

    @torch.inference_mode()
    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed pictures.

        Args:
            images: n arrays (H, W, 3) uint8 RGB of any sizes.

        Returns:
            (n, D) float32, rows of length 1.
        """
        rows = []
        for start in range(0, len(images), self.batch_size):
            pixels = torch.stack([self.preprocess(image) for image in images[start : start + self.batch_size]])
            x = pixels.to(self.device, non_blocking=True).to(self.dtype)
            x = torch.addcmul(self.shift, x, self.scale)
            rows.append(_normalized(self._encode_pixels(x)))
        return self._stack(rows)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed captions.

        Returns:
            (n, D) float32, rows of length 1, in the order of `texts`.
        """
        if not texts:
            return self._stack([])
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        if len(places) < len(texts):
            return self.embed_texts(list(places))[[places[text] for text in texts]]
        tokens = self.tokenizer(list(texts))  # (n, T)
        if self.causal_text is None:
            batches = torch.split(tokens, self.batch_size)
            return self._stack([_normalized(self.model.encode_text(batch.to(self.device))) for batch in batches])
        ends = _end_of_text(self.causal_text, tokens)
        order = torch.argsort(ends, stable=True)
        rows = []
        for index in torch.split(order, self.batch_size):
            length = int(ends[index].max()) + 1
            rows.append(_normalized(self._encode_cut(tokens[index, :length].to(self.device), ends[index])))
        out = self._stack(rows)
        out[order.numpy()] = out.copy()
        return out

    @property
    def dim(self) -> int:
        """Embedding size, D."""
        return int(self.embed_texts(["a"]).shape[1])

    def _encode_cut(self, tokens: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """Run a causal text tower on token rows cut behind their last end-of-text.

        A causal tower's output at a position depends on nothing after it, and the pooled position is the end-of-text,
        so what is cut off cannot matter. open_clip's own `encode_text` insists on the full context length.

        Args:
            tokens: (B, T') int64, T' up to the context length.
            ends: (B,) position of the end-of-text in each row.
        """
        tower, length = self.causal_text, tokens.shape[1]
        x: torch.Tensor = tower.token_embedding(tokens) + tower.positional_embedding[:length]  # (B, T', width)
        *blocks, last = tower.transformer.resblocks
        for block in blocks:
            x = block(x, attn_mask=tower.attn_mask[:length, :length])
        after = torch.arange(length, device=x.device) > ends.to(x.device)[:, None]  # what the mask hides from the end
        x = tower.ln_final(_one_token(last, x, ends, after))  # (B, width): the norm is per token
        if isinstance(tower.text_projection, torch.nn.Linear):
            x = tower.text_projection(x)
        elif tower.text_projection is not None:
            x = x @ tower.text_projection
        return x

    def _encode_pixels(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features (B, D) of normalised pictures (B, 3, H, W)."""
        if self.token_vision is None:
            return self.model.encode_image(x)  # type: ignore[no-any-return]
        tower = self.token_vision
        x = tower._embeds(x)  # (B, 1 + patches, width), the class token first
        *blocks, last = tower.transformer.resblocks
        for block in blocks:
            x = block(x)
        x = tower.ln_post(_one_token(last, x, torch.zeros(len(x), dtype=torch.int64)))
        return x if tower.proj is None else x @ tower.proj

    def _stack(self, rows: list[torch.Tensor]) -> NDArray[np.float32]:
        """Join batches of embeddings; none at all make an array of no rows and the right width."""
        if not rows:
            return np.zeros((0, self.dim), np.float32)
        return torch.cat(rows).cpu().numpy()


class Preprocess:
    """A picture's way to the network's input size, as uint8; the normalisation is left to the batch.

    The resize is torchvision's antialiased uint8 one; it differs from Pillow's by rounding alone. Resize modes other
    than "shortest" to a square and "squash" go through open_clip's own transform.

    Args:
        config: the model's `visual.preprocess_cfg`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        import open_clip

        self.config = config
        size = config["size"]
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        transform = open_clip.image_transform(
            self.size,
            is_train=False,
            mean=config["mean"],
            std=config["std"],
            interpolation=config["interpolation"],
            resize_mode=config["resize_mode"],
            fill_color=config["fill_color"],
        )
        self.geometry = transform.transforms[:-2]  # without to-tensor and normalise
        self.fast = config["resize_mode"] == "squash" or (
            config["resize_mode"] == "shortest" and self.size[0] == self.size[1]
        )

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (scale, shift), each (3,) float32: network input = pixel * scale + shift, pixels in 0..255."""
        mean, std = torch.tensor(self.config["mean"]), torch.tensor(self.config["std"])
        return 1 / (255 * std), -mean / std

    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Resize and crop one picture.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (3, *size) uint8.
        """
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2 import functional as F

        if not self.fast:
            picture: Any = Image.fromarray(image)
            for step in self.geometry:
                picture = step(picture)
            image = np.asarray(picture)
        x = torch.from_numpy(np.require(image, requirements=["C", "W"]))  # torch wants writable arrays
        x = x.permute(2, 0, 1)  # channels last in memory: the fast kernel
        if self.fast:
            mode = InterpolationMode(self.config["interpolation"])
            size = list(self.size) if self.config["resize_mode"] == "squash" else [self.size[0]]
            x = F.center_crop(F.resize(x, size, interpolation=mode, antialias=True), list(self.size))
        return x.contiguous()


def _normalized(features: torch.Tensor) -> torch.Tensor:
    """Return features of length 1 in float32."""
    return torch.nn.functional.normalize(features.float(), dim=-1)


def _one_token(block: Any, x: torch.Tensor, places: torch.Tensor, ignored: torch.Tensor | None = None) -> torch.Tensor:
    """Return what a residual attention block makes of one token of each row, computing nothing for the others.

    Args:
        block: open_clip's ResidualAttentionBlock.
        x: (B, T, width).
        places: (B,) position of the token.
        ignored: (B, T) True for the tokens that it does not attend to.

    Returns:
        (B, width).
    """
    rows = torch.arange(len(x))
    y = block.ln_1(x)
    attended = block.attn(y[rows, places][:, None], y, y, key_padding_mask=ignored, need_weights=False)[0][:, 0]
    z = x[rows, places] + block.ls_1(attended)
    z = z + block.ls_2(block.mlp(block.ln_2(z)))
    return z  # type: ignore[no-any-return]


def _token_pooled_vision(model: Any) -> Any:
    """Return a vision tower that is a plain transformer of which the class token is used, None for any other kind."""
    from open_clip.model import CLIP, CustomTextCLIP
    from open_clip.transformer import VisionTransformer

    tower = model.visual
    if type(model) not in (CLIP, CustomTextCLIP) or type(tower) is not VisionTransformer:
        return None
    pooled = tower.attn_pool is None and tower.pool_type == "tok" and not tower.output_tokens
    return tower if pooled and _plain_blocks(tower.transformer) else None


def _plain_blocks(transformer: Any) -> bool:
    """Tell whether `_one_token` knows the blocks of a transformer."""
    from open_clip.transformer import ResidualAttentionBlock

    blocks: Any = getattr(transformer, "resblocks", ())
    return len(blocks) > 0 and transformer.batch_first and type(blocks[-1]) is ResidualAttentionBlock


def _causal_text_tower(model: Any) -> Any:
    """Return the module that holds a causal text tower pooled at the end-of-text, None for any other kind."""
    from open_clip.model import CLIP
    from open_clip.transformer import TextTransformer

    text: Any = model if type(model) is CLIP else getattr(model, "text", None)
    if not _plain_blocks(getattr(text, "transformer", None)):
        return None
    if type(model) is CLIP:
        return model if model.attn_mask is not None and model.text_pool_type in ("argmax", "eos") else None
    if type(text) is not TextTransformer or text.attn_mask is None or text.pool_type not in ("argmax", "eos"):
        return None
    return None if text.cls_emb is not None or text.use_pad_mask or text.output_tokens else text


def _end_of_text(tower: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the (n,) pooled position of each token row, as open_clip's `text_global_pool` finds it."""
    if getattr(tower, "text_pool_type", getattr(tower, "pool_type", None)) == "eos":
        eos: Any = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
        return torch.eq(tokens, eos).int().argmax(dim=-1)
    return tokens.argmax(dim=-1)
