"""Image-text retrieval: find the picture for a caption and a caption for the picture.

Source: the definitions of CLIP_benchmark; DataComp's main metric is the mean of the two recalls at 1.
"""

from typing import Any

import numpy as np

from eval.features import as_embedder, embed_heldout
from eval.finite import require_finite
from eval.heldout.example import Decode, Example
from eval.heldout.opening import open_heldout
from eval.metrics.recall_at_k import recall_at_k
from eval.outcomes import per_picture
from eval.statistics import bootstrap
from eval.task import Task, TaskResult
from winnow.errors import UserError

__all__ = ["Retrieval"]

KS = (1, 5, 10)


class Retrieval(Task):
    """Rank all pictures for each caption, and all captions for each picture."""

    path: str
    """A held-out set with captions: a wds folder that says retrieval, a table of captions, parquet files."""
    size: int | None = None
    """How many test pictures there must be; None checks only that there are some."""
    decode: Decode = "viewer"
    """How pictures and caption lines are read: "compat" has CLIP_benchmark's pixels, and its lines as they stand."""
    batch_size: int = 256
    """Pictures decoded at once."""

    @classmethod
    def tiny(cls) -> "Retrieval":
        """Return an instance that reads nothing until it evaluates."""
        return cls(path="heldout/captions")

    def inputs(self) -> list[str]:
        """Return the files of the folder."""
        return open_heldout(self.path, self.decode).files()

    def evaluate(self, system: Any) -> TaskResult:
        """Compute recalls at 1, 5 and 10; rows hold one query each: direction, sample, query, hit1, hit5, hit10."""
        heldout, embedder = open_heldout(self.path, self.decode), as_embedder(system)
        heldout.require("retrieval")
        examples, images = embed_heldout(embedder, heldout, self.batch_size, _check)
        heldout.check_size(len(examples), self.size)
        keys = [example.key for example in examples]
        texts = [caption for example in examples for caption in example.captions]
        owners = np.repeat(np.arange(len(examples)), [len(example.captions) for example in examples])
        captions = embedder.encode_texts(texts)
        require_finite(
            captions,
            [f"{keys[row]}: {text!r}" for row, text in zip(owners, texts, strict=True)],
            "embeddings of captions",
        )
        hits = recall_at_k(images, captions, owners, KS)
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


def _check(example: Example) -> None:
    """Refuse a picture that nothing can be asked about."""
    if not example.captions:
        raise UserError(f"{example.where} has no caption")
