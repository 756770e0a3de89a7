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
from eval.metrics.frechet_distance import frechet_distance
from eval.metrics.kernel_distance import kernel_distance
from eval.task import Generator, Task, TaskResult
from eval.wds import WdsFolder
from winnow.component import build
from winnow.errors import UserError
from winnow.images import decode_image

__all__ = ["Generation"]


class Generation(Task):
    """Draw pictures for captions; smaller distances are better."""

    path: str
    """A wds folder of held-out pictures: captions from member txt, else template 1 filled with the class name."""
    prompts: tuple[str, ...] = ()
    """Captions of the grid; () takes the first distinct captions of the folder."""
    grid: int = Field(default=16, ge=1)
    """Pictures in the grid."""
    num_samples: int = Field(default=256, ge=2)
    """Pictures drawn for the distance, on captions taken round the folder; it is compared with as many real ones."""
    num_steps: int = Field(default=20, ge=1)
    """Steps of the sampler."""
    guidance: float = 2.0
    """Guidance strength in the system's own convention; rectified_flow: 0 follows the captions as they were learnt."""
    batch_size: int = Field(default=32, ge=1)
    seed: int = 0
    """Of the noise: equal for every system, so that grids differ by the system alone."""
    extractor: dict[str, Any] = Field(default={"use": "efficientnet_lite0"})
    """The feature network, by file name in `eval/extractors/`."""

    @classmethod
    def tiny(cls) -> "Generation":
        """Return an instance that reads nothing until it evaluates."""
        return cls(path="heldout/captions", num_samples=4, grid=4, num_steps=1)

    def inputs(self) -> list[str]:
        """Return the files of the folder and the extractor's weights."""
        return WdsFolder(self.path).files() + self._extractor().inputs()

    def evaluate(self, system: Any) -> TaskResult:
        """Draw, measure and lay out the grid."""
        if not isinstance(system, Generator):
            raise UserError(
                f"{type(system).__name__} draws no pictures; restrict the task with `recipes: [<generative recipes>]`"
            )
        captions, real = _heldout(WdsFolder(self.path))
        count = min(self.num_samples, len(real))  # equal n on both sides: the distance is biased by 1/n
        prompts = list(self.prompts) or list(dict.fromkeys(captions))
        prompts = prompts[: self.grid]
        grid = self._draw(system, prompts, self.seed)
        drawn = self._draw(system, captions[:count], self.seed + 1)
        extractor = self._extractor()
        features = extractor.extract(real[:count]), extractor.extract(drawn)
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
            rows={"sample": list(range(count)), "caption": captions[:count]},
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
        extractor: Extractor = build("eval.extractors", self.extractor, self.extractor["use"], "extractor")
        return extractor

    def _draw(self, system: Generator, captions: list[str], seed: int) -> list[NDArray[np.uint8]]:
        """Return one (H, W, 3) uint8 picture per caption."""
        import torch

        pictures: list[NDArray[np.uint8]] = []
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            for start in range(0, len(captions), self.batch_size):
                batch = captions[start : start + self.batch_size]
                drawn = system.sample(batch, generator, self.num_steps, self.guidance).float().cpu()
                pixels = ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
                pictures += list(pixels)
        return pictures


def _heldout(folder: WdsFolder) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Return the captions and pictures of a folder."""
    captions, pictures = [], []
    by_class = folder.kind() != "retrieval"
    names = folder.lines("classnames.txt") if by_class else []
    template = folder.lines("zeroshot_classification_templates.txt")[0] if by_class else ""
    for sample in folder.samples():
        assert sample.image is not None
        pictures.append(decode_image(sample.image))
        if "txt" in sample.members or not by_class:
            captions.append(sample.caption.split("\n")[0])
        else:
            captions.append(template.replace("{c}", names[int(sample.members["cls"])]))
    folder.check_size(len(captions), None)
    if len(captions) < 2:
        raise UserError(f"{folder.path}: a distance needs two held-out pictures or more, found {len(captions)}")
    return captions, pictures


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
