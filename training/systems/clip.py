"""CLIP: an image and a text tower whose embeddings of a pair agree.

Source: Radford et al. 2021, Learning transferable visual models from natural language supervision (arXiv 2103.00020),
Figure 3. Architectures, tokenizers and the format of the weights are open_clip's.
B: samples of a rank, W: ranks, D: embedding width, L: context length.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.crops import random_resized_crop
from training.distributed import all_gather, rank
from training.networks.text_cut import encode_text
from training.system import Batch, Phase, System
from winnow.component import Component, validate
from winnow.openclip import CONFIG_NAME, PREPROCESSING, create_clip, model_name
from winnow.shipped import CONFIGS
from winnow.storage import link_or_copy

__all__ = ["Clip"]

MAX_LOGIT_SCALE = math.log(100)  # the paper's bound on the temperature, section 2.5


class Clip(System):
    """Contrastive training of an open_clip model with the symmetric InfoNCE loss over the global batch."""

    couples_samples: ClassVar[bool] = True

    class Config(Component):
        """Fields of `system: {use: clip}`."""

        model: str = "ViT-B-32"
        """An open_clip name or the path of a JSON file of the architecture."""
        pretrained: str | None = None
        """Weights to start from: an open_clip tag or a checkpoint's path; None starts from random ones."""
        pretrained_image: str | None = None
        """Weights of the image tower alone to start from: `tf_efficientnet_lite0`, ImageNet's from a package, or the
        path of a state dict of a timm model or of the tower."""
        crop_scale: tuple[float, float] = (0.9, 1.0)
        """Range of the random crop's share of the picture's area; no flips, captions speak of left and right."""

        @classmethod
        def tiny(cls) -> Self:
            """Return the smallest architecture of the repository."""
            return cls(model=str(CONFIGS / "models/winnow-tiny.json"))

    config: Config
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        import open_clip

        self.name = model_name(config.model)
        self.model = create_clip(config.model, config.pretrained, config.pretrained_image)
        self.tokenizer = open_clip.get_tokenizer(self.name)
        preprocess = open_clip.get_model_preprocess_cfg(self.model)
        size = preprocess["size"]
        self.size = (size[0], size[1]) if isinstance(size, Sequence) else (size, size)
        self.image_size = max(self.size)
        self.register_buffer("mean", torch.tensor(preprocess["mean"]).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocess["std"]).view(3, 1, 1) * 255, persistent=False)

    def crop(self, picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Cut a random box of the picture."""
        return random_resized_crop(picture, self.size, self.config.crop_scale, random)

    def tokenize(self, caption: str) -> Tensor:
        """Return open_clip's tokens, (L,)."""
        tokens: Tensor = self.tokenizer([caption])[0]
        return tokens

    def phases(self, batch: Batch, progress: float) -> Iterator[Phase]:
        """Yield the one update."""
        yield Phase("contrastive", "model", lambda: self._terms(batch))

    def after_step(self, phase: str, progress: float) -> None:
        """Keep the logit scale, which is stored as a logarithm, in [0, ln 100]."""
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)

    def embed_images(self, images: Tensor) -> Tensor:
        """Embed (B, 3, H, W) uint8 pictures of the model's size; (B, D) of unit length."""
        features: Tensor = self.model.encode_image((images - self.mean) / self.std, normalize=True)
        return features

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Embed (B, L) tokens; (B, D) of unit length."""
        return F.normalize(encode_text(self.model, tokens), dim=-1)

    def about(self) -> dict[str, Any]:
        """Return architecture and preprocessing, as open_clip reads them from an `open_clip_config.json`."""
        import open_clip

        preprocess = open_clip.get_model_preprocess_cfg(self.model)
        return {
            "model_cfg": open_clip.get_model_config(self.name),
            "preprocess_cfg": {key: preprocess[key] for key in PREPROCESSING if key in preprocess},
        }

    def cautions(self) -> list[str]:
        """Tell of a model made for another loss."""
        if getattr(self.model, "logit_bias", None) is None:
            return []
        return [
            f"{self.config.model} has a logit bias, hence is made for SigLIP's sigmoid loss; it is trained with "
            "InfoNCE, which has no use for the bias: take a model without `init_logit_bias` unless you mean it"
        ]

    def save(self, out_dir: Path) -> None:
        """Write a folder that open_clip loads as "local-dir:OUT_DIR", with the architecture as <name>.json too.

        model.pt is a plain open_clip state dict; `open_clip_pytorch_model.bin` is the same file under the name that
        open_clip looks for.
        """
        with (out_dir / "model.pt").open("wb") as file:
            torch.save(self.model.state_dict(), file)
        link_or_copy(out_dir / "model.pt", out_dir / "open_clip_pytorch_model.bin")
        about = self.about()
        (out_dir / CONFIG_NAME).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        name = Path(self.config.model).name if self.config.model.endswith(".json") else f"{self.name}.json"
        if name != CONFIG_NAME:
            (out_dir / name).write_text(json.dumps(about["model_cfg"], indent=2) + "\n", encoding="utf-8")
        if hasattr(self.tokenizer, "save_pretrained"):  # of the Hugging Face hub: open_clip wants it in the folder too
            self.tokenizer.save_pretrained(str(out_dir))

    @classmethod
    def load(cls, out_dir: Path, fields: Mapping[str, Any]) -> Self:
        """Rebuild from the run's own copy of the architecture, with the preprocessing it was trained with."""
        model = str(fields["model"])
        if (out_dir / CONFIG_NAME).is_file():
            model = str(out_dir / CONFIG_NAME)
        elif model.endswith(".json"):
            model = str(out_dir / Path(model).name)
        changes = {"model": model, "pretrained": str(out_dir / "model.pt"), "pretrained_image": None}
        return cls(validate(cls.Config, {**fields, **changes}, "system"))

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of this rank's rows of the (B W, B W) logits; the mean over ranks is the global loss."""
        images, texts = self.embed_images(batch.images).float(), self.embed_tokens(batch.tokens).float()
        scale = self.model.logit_scale.exp()
        loss = info_nce(images, texts, all_gather(images), all_gather(texts), scale, offset=rank() * len(images))
        return {"loss": loss, "logit_scale": scale}


def info_nce(
    images: Tensor, texts: Tensor, all_images: Tensor, all_texts: Tensor, scale: Tensor, offset: int = 0
) -> Tensor:
    """Return half the sum of image-to-text and text-to-image cross-entropy over scaled cosines.

    Args:
        images: (B, D) unit-length embeddings of this rank.
        texts: (B, D) their captions'.
        all_images: (B W, D) those of all ranks.
        all_texts: (B W, D) likewise.
        scale: inverse temperature.
        offset: row of all_images that images[0] is.
    """
    target = torch.arange(len(images), device=images.device) + offset
    image_to_text = F.cross_entropy(scale * images @ all_texts.T, target)
    text_to_image = F.cross_entropy(scale * texts @ all_images.T, target)
    return (image_to_text + text_to_image) / 2
