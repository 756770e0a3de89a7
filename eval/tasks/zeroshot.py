"""Zero-shot classification with a head of prompt ensembles.

Source: Radford et al. 2021 (arXiv 2103.00020), Sec. 3.1; the folder and the numbers are CLIP_benchmark's.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval.features import as_embedder, embed_heldout
from eval.finite import require_finite
from eval.heldout.example import Decode, fill, has_place
from eval.heldout.opening import open_heldout
from eval.metrics.accuracy import accuracy
from eval.statistics import stratified_bootstrap, wilson
from eval.task import Embedder, Task, TaskResult
from winnow.errors import UserError

__all__ = ["ZeroShot"]


class ZeroShot(Task):
    """Ask which class name fits a picture best."""

    path: str
    """A held-out set with labels: a wds folder, folders of pictures, parquet files."""
    class_names: tuple[str, ...] = ()
    """Names of the classes by index; () takes those of the set."""
    templates: tuple[str, ...] = ()
    """Prompts with {c} for the class name; () takes those of the set."""
    main_metric: Literal["acc1", "mean_per_class_recall"] = "acc1"
    size: int | None = None
    """How many test pictures there must be; None checks only that there are some."""
    decode: Decode = "viewer"
    """How pictures are decoded: "viewer" as in training and scoring, "compat" as CLIP_benchmark does."""
    batch_size: int = 256
    """Pictures decoded at once."""

    @classmethod
    def tiny(cls) -> "ZeroShot":
        """Return an instance that reads nothing until it evaluates."""
        return cls(path="heldout/classes")

    def inputs(self) -> list[str]:
        """Return the files of the folder."""
        return open_heldout(self.path, self.decode).files()

    def evaluate(self, system: Any) -> TaskResult:
        """Classify every test picture; rows hold label, pred, correct, top5 and margin (cosine, right - best wrong)."""
        heldout, embedder = open_heldout(self.path, self.decode), as_embedder(system)
        heldout.require("classification")
        names = list(self.class_names) or heldout.class_names()
        head = _head(embedder, names, list(self.templates) or heldout.templates(), self.path)
        labels: list[int] = []
        examples, features = embed_heldout(
            embedder, heldout, self.batch_size, lambda example: labels.append(example.class_index(len(head)))
        )
        heldout.check_size(len(examples), self.size)
        keys = [example.key for example in examples]
        scores = features @ head.T
        require_finite(scores, keys, "rows of scores of pictures")
        return self._result(keys, np.array(labels), scores)

    def _result(self, keys: list[str], labels: NDArray[np.int64], scores: NDArray[np.float32]) -> TaskResult:
        """Turn cosines (n, classes) into metrics and rows."""
        # stable, so that a tie goes to the lower class index on every machine
        top = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        metrics = accuracy(top, labels)
        correct = top[:, 0] == labels
        mine = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
        others = scores.copy()
        np.put_along_axis(others, labels[:, None], -np.inf, axis=1)
        if self.main_metric == "acc1":
            interval = wilson(int(correct.sum()), len(correct))
        else:
            interval = stratified_bootstrap(correct.astype(np.float64), labels)
        return TaskResult(
            metrics={**metrics, "main_metric": metrics[self.main_metric]},
            main_metric=self.main_metric,
            num_samples=len(keys),
            interval=interval,
            rows={
                "sample": keys,
                "label": labels.tolist(),
                "pred": top[:, 0].tolist(),
                "correct": correct.tolist(),
                "top5": top.tolist(),
                "margin": (mine - others.max(axis=1)).astype(np.float32).tolist(),
            },
            notes={"chance": 1 / scores.shape[1]},
        )


def _head(embedder: Embedder, names: list[str], templates: list[str], path: str) -> NDArray[np.float32]:
    """Return (classes, d): for each class the mean of its normalised prompts, normalised again."""
    if len(names) < 2 or not has_place(templates):
        raise UserError(f"{path}: needs two class names or more, and templates that hold {{c}}")
    prompts = [fill(template, name) for name in names for template in templates]
    features = embedder.encode_texts(prompts)
    require_finite(features, prompts, "embeddings of prompts")
    features = features.reshape(len(names), len(templates), -1)
    features = features / np.linalg.norm(features, axis=2, keepdims=True)
    head: NDArray[np.float32] = features.mean(axis=1)
    head /= np.linalg.norm(head, axis=1, keepdims=True)
    require_finite(head, names, "mean embeddings of classes")
    return head
