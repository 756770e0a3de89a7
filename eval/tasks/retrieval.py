"""Image-text retrieval: find the picture for a caption and a caption for the picture.

Source: the definitions of CLIP_benchmark; DataComp's main metric is the mean of the two recalls at 1.
"""

from typing import Any

import numpy as np

from eval.features import as_embedder
from eval.metrics.recall_at_k import recall_at_k
from eval.outcomes import per_picture
from eval.statistics import bootstrap
from eval.task import Task, TaskResult
from eval.wds import WdsFolder
from winnow.errors import UserError
from winnow.images import decode_image

__all__ = ["Retrieval"]

KS = (1, 5, 10)


class Retrieval(Task):
    """Rank all pictures for each caption, and all captions for each picture."""

    path: str
    """A wds folder whose dataset_type.txt says retrieval; member txt holds the captions, one a line."""
    size: int | None = None
    """How many test pictures there must be; None checks only that there are some."""
    batch_size: int = 256
    """Pictures decoded at once."""

    @classmethod
    def tiny(cls) -> "Retrieval":
        """Return an instance that reads nothing until it evaluates."""
        return cls(path="heldout/captions")

    def inputs(self) -> list[str]:
        """Return the files of the folder."""
        return WdsFolder(self.path).files()

    def evaluate(self, system: Any) -> TaskResult:
        """Compute recalls at 1, 5 and 10; rows hold one query each: direction, sample, query, hit1, hit5, hit10."""
        folder, embedder = WdsFolder(self.path), as_embedder(system)
        if folder.kind() != "retrieval":
            raise UserError(f"{self.path}: dataset_type.txt must say retrieval; use `zeroshot` for classification")
        keys: list[str] = []
        texts: list[str] = []
        owner: list[int] = []
        parts = []
        images = []
        for sample in folder.samples():
            # CLIP_benchmark writes a newline inside a caption as a literal backslash-n
            captions = [line.replace("\\n", "\n") for line in sample.caption.split("\n") if line.strip()]
            if not captions:
                raise UserError(f"{self.path}: sample {sample.key} has no caption")
            owner.extend([len(keys)] * len(captions))
            texts.extend(captions)
            keys.append(sample.key)
            assert sample.image is not None
            images.append(decode_image(sample.image))
            if len(images) == self.batch_size:
                parts.append(embedder.encode_images(images))
                images = []
        if images:
            parts.append(embedder.encode_images(images))
        folder.check_size(len(keys), self.size)
        owners = np.array(owner)
        hits = recall_at_k(np.concatenate(parts), embedder.encode_texts(texts), owners, KS)
        ids = {"image_retrieval": owners, "text_retrieval": np.arange(len(keys))}
        recalls = {
            f"{direction}_recall@{k}": float(hits[direction][:, column].mean())
            for direction in hits
            for column, k in enumerate(KS)
        }
        rows: dict[str, list[Any]] = {name: [] for name in ("direction", "sample", "query", *(f"hit{k}" for k in KS))}
        for direction, values in hits.items():
            rows["direction"] += [direction] * len(values)
            rows["sample"] += [keys[image] for image in ids[direction]]
            rows["query"] += texts if direction == "image_retrieval" else keys
            for column, k in enumerate(KS):
                rows[f"hit{k}"] += values[:, column].tolist()
        best = np.concatenate([values[:, 0] for values in hits.values()])
        picture = np.concatenate([ids[name] for name in hits])
        interval = bootstrap(per_picture(best, np.array(rows["direction"], dtype=str), picture, len(keys)))
        return TaskResult(
            metrics={**recalls, "mean_recall@1": interval.value, "main_metric": interval.value},
            main_metric="mean_recall@1",
            num_samples=len(keys),
            interval=interval,
            rows=rows,
            notes={"chance": 1 / len(keys), "num_captions": len(texts)},
        )
