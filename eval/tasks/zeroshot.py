"""Zero-shot classification with a head of prompt ensembles.

Source: Radford et al. 2021 (arXiv 2103.00020), Sec. 3.1; the folder and the numbers are CLIP_benchmark's.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval.features import as_embedder
from eval.metrics.accuracy import accuracy
from eval.statistics import stratified_bootstrap, wilson
from eval.task import Embedder, Task, TaskResult
from eval.wds import WdsFolder
from winnow.errors import UserError
from winnow.images import decode_image

__all__ = ["ZeroShot"]


class ZeroShot(Task):
    """Ask which class name fits a picture best."""

    path: str
    """A wds folder with classnames.txt, zeroshot_classification_templates.txt and test/."""
    main_metric: Literal["acc1", "mean_per_class_recall"] = "acc1"
    size: int | None = None
    """How many test pictures there must be; None checks only that there are some."""
    batch_size: int = 256
    """Pictures decoded at once."""

    @classmethod
    def tiny(cls) -> "ZeroShot":
        """Return an instance that reads nothing until it evaluates."""
        return cls(path="heldout/classes")

    def inputs(self) -> list[str]:
        """Return the files of the folder."""
        return WdsFolder(self.path).files()

    def evaluate(self, system: Any) -> TaskResult:
        """Classify every test picture; rows hold label, pred, correct, top5 and margin (cosine, right - best wrong)."""
        folder, embedder = WdsFolder(self.path), as_embedder(system)
        head = _head(embedder, folder)
        keys: list[str] = []
        labels: list[int] = []
        scores: list[NDArray[np.float32]] = []
        images: list[NDArray[np.uint8]] = []
        for sample in folder.samples():
            keys.append(sample.key)
            labels.append(_label(sample.members.get("cls"), len(head), f"{self.path}: sample {sample.key}"))
            assert sample.image is not None
            images.append(decode_image(sample.image))
            if len(images) == self.batch_size:
                scores.append(embedder.encode_images(images) @ head.T)
                images = []
        if images:
            scores.append(embedder.encode_images(images) @ head.T)
        folder.check_size(len(keys), self.size)
        return self._result(keys, np.array(labels), np.concatenate(scores))

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


def _head(embedder: Embedder, folder: WdsFolder) -> NDArray[np.float32]:
    """Return (classes, d): for each class the mean of its normalised prompts, normalised again."""
    names = folder.lines("classnames.txt")
    templates = [line for line in folder.lines("zeroshot_classification_templates.txt") if line]
    if len(names) < 2 or not templates or not all("{c}" in template for template in templates):
        raise UserError(f"{folder.path}: needs two class names or more, and templates that hold {{c}}")
    prompts = [template.replace("{c}", name) for name in names for template in templates]
    features = embedder.encode_texts(prompts).reshape(len(names), len(templates), -1)
    features /= np.linalg.norm(features, axis=2, keepdims=True)
    head: NDArray[np.float32] = features.mean(axis=1)
    head /= np.linalg.norm(head, axis=1, keepdims=True)
    return head


def _label(data: bytes | None, num_classes: int, where: str) -> int:
    """Read the `cls` member."""
    text = (data or b"").decode("ascii", "replace").strip()
    if not text.isdigit() or int(text) >= num_classes:
        raise UserError(f"{where}: member cls must hold a class index below {num_classes}, not {text!r}")
    return int(text)
