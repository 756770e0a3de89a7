"""Text-to-image generation: a grid at fixed prompts and noise, and a distance to held-out pictures.

Source: Heusel et al. 2017 (arXiv 1706.08500) for the distance; the extractor says what it is called.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from eval.extractor import Extractor
from eval.finite import require_finite
from eval.heldout.example import Decode, HeldOut, fill, has_place
from eval.heldout.opening import open_heldout
from eval.metrics.frechet_distance import frechet_distance
from eval.metrics.kernel_distance import kernel_distance
from eval.task import Generator, Task, TaskResult
from winnow.component import build
from winnow.errors import UserError

__all__ = ["Generation"]


class Generation(Task):
    """Draw pictures for captions; smaller distances are better."""

    path: str
    """A held-out set: the first caption of a picture, else the first template filled with its class name."""
    prompts: tuple[str, ...] = ()
    """Captions of the grid; () draws different captions from the whole set."""
    grid: int = Field(default=16, ge=1)
    """Pictures in the grid."""
    num_samples: int = Field(default=256, ge=2)
    """Pictures drawn for the distance, on captions from all over the set and as many of each class as it has; they are
    compared with as many real ones, those of the captions."""
    num_steps: int = Field(default=20, ge=1)
    """Steps of the sampler."""
    guidance: float = 2.0
    """Guidance strength in the system's own convention; rectified_flow: 0 follows the captions as they were learnt."""
    batch_size: int = Field(default=32, ge=1)
    """Pictures drawn at once; it does not change them."""
    seed: int = 0
    """Of the choice of captions and of the noise: equal for every system, so that they differ by the system alone."""
    decode: Decode = "viewer"
    """How the real pictures are decoded: "viewer" as in training, "compat" as CLIP_benchmark does."""
    extractor: dict[str, Any] = Field(default={"use": "efficientnet_lite0"})
    """The feature network, by file name in `eval/extractors/`."""

    @classmethod
    def tiny(cls) -> "Generation":
        """Return an instance that reads nothing until it evaluates."""
        return cls(path="heldout/captions", num_samples=4, grid=4, num_steps=1)

    def inputs(self) -> list[str]:
        """Return the files of the folder and the extractor's weights."""
        return open_heldout(self.path, self.decode).files() + self._extractor().inputs()

    def evaluate(self, system: Any) -> TaskResult:
        """Draw, measure and lay out the grid."""
        if not isinstance(system, Generator):
            raise UserError(
                f"{type(system).__name__} draws no pictures; restrict the task with `recipes: [<generative recipes>]`"
            )
        heldout = open_heldout(self.path, self.decode)
        captions, order = _captions(heldout, self.seed)
        chosen = sorted(order[: self.num_samples])  # equal n on both sides: the distance is biased by 1/n
        different = dict.fromkeys(captions[row] for row in order)
        prompts = list(self.prompts or sorted(list(different)[: self.grid], key=captions.index))[: self.grid]
        grid = self._draw(system, prompts, 0)
        drawn = self._draw(system, [captions[row] for row in chosen], 1)
        wanted = set(chosen)
        examples = [e for row, e in enumerate(heldout.examples()) if row in wanted]
        keys, count = [example.key for example in examples], len(chosen)
        extractor = self._extractor()
        features = extractor.extract([e.pixels(self.decode) for e in examples]), extractor.extract(drawn)
        for side, what in zip(features, ("features of held-out pictures", "features of drawn pictures"), strict=True):
            require_finite(side, keys, what)
        name = extractor.metric_name
        distance = frechet_distance(*features)
        return TaskResult(
            metrics={
                name: distance,
                f"KD-{name.removeprefix('FD-')}": kernel_distance(*features),
                "main_metric": distance,
            },
            main_metric=name,
            num_samples=count,
            rows={"sample": keys, "caption": [captions[row] for row in chosen]},
            pictures={"grid.png": _grid(grid)},
            notes={
                "lower_is_better": True,
                "metric_name": name,
                "resize": extractor.resize,
                "prompts": prompts,
                "columns": _columns(len(prompts)),
                "num_steps": self.num_steps,
                "guidance": self.guidance,
            },
        )

    def _extractor(self) -> Extractor:
        """Build the feature network's component."""
        if "use" not in self.extractor:
            raise UserError("key `extractor` needs `use`, the name of a file in eval/extractors/")
        extractor: Extractor = build("eval.extractors", self.extractor, "extractor")
        return extractor

    def _draw(self, system: Generator, captions: list[str], part: int) -> list[NDArray[np.uint8]]:
        """Return one (H, W, 3) uint8 picture per caption; picture i of a part has the noise of (seed, part, i)."""
        import torch

        seeds = [
            np.random.SeedSequence([self.seed, part, i]).generate_state(1, np.uint64) for i in range(len(captions))
        ]
        parts: list[NDArray[np.float32]] = []
        with torch.inference_mode():
            for start in range(0, len(captions), self.batch_size):
                batch = captions[start : start + self.batch_size]
                noise = [torch.Generator().manual_seed(int(s[0] >> 1)) for s in seeds[start : start + len(batch)]]
                parts.append(system.sample(batch, noise, self.num_steps, self.guidance).float().cpu().numpy())
        drawn = np.concatenate(parts)
        names = [f"{i}: {caption!r}" for i, caption in enumerate(captions)]
        require_finite(drawn, names, "drawn pictures")
        return list(((drawn.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1))


def _captions(heldout: HeldOut, seed: int) -> tuple[list[str], list[int]]:
    """Return every picture's caption, and the pictures in an order of which each beginning has all classes alike."""
    by_class = heldout.kind() == "classification"
    names, templates = (heldout.class_names(), heldout.templates()) if by_class else ([], [])
    if by_class and not has_place(templates):
        raise UserError(f"{heldout.path}: needs templates that hold {{c}}")
    captions: list[str] = []
    classes: list[int] = []
    strata: list[str] = []
    for example in heldout.examples():
        if by_class:
            classes.append(example.class_index(len(names)))
        elif not example.captions:
            raise UserError(f"{example.where} has no caption")
        strata.append(example.label or "")
        captions.append(example.captions[0] if example.captions else fill(templates[0], names[classes[-1]]))
    heldout.check_size(len(captions), None)
    if len(captions) < 2:
        raise UserError(f"{heldout.path}: a distance needs two held-out pictures or more, found {len(captions)}")
    rng = np.random.default_rng(seed)
    place = np.empty(len(captions))
    for label in sorted(set(strata)):
        mine = rng.permutation(np.flatnonzero(np.array(strata) == label))
        # the k-th of a class of n stands at (k + u) / n of the way: a half of the order holds half of each class
        place[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
    return captions, np.argsort(place, kind="stable").tolist()


def _columns(count: int) -> int:
    """Return the width of a nearly square grid."""
    return int(np.ceil(np.sqrt(count)))


def _grid(pictures: list[NDArray[np.uint8]]) -> bytes:
    """Lay pictures of one size out row by row, two pixels apart, as a PNG."""
    height, width = pictures[0].shape[:2]
    columns = _columns(len(pictures))
    rows = -(-len(pictures) // columns)
    canvas = np.full((rows * (height + 2) - 2, columns * (width + 2) - 2, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + 2), number % columns * (width + 2)
        canvas[top : top + height, left : left + width] = picture
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, "PNG")
    return file.getvalue()
