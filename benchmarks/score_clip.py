"""How much faster the score path is than its peers, from the same tar to the same similarities, in alternating runs.

    python benchmarks/score_clip.py [--num-images 24] [--repeats 5]
    python benchmarks/score_clip.py --images pictures.parquet     # a parquet file with encoded pictures in a column

Ours: the scorer `clip` on the batches that the score stage reads. Against it:

- clip-retrieval's inference: its package needs NumPy below 2 and another open_clip and cannot be installed beside this
  project, so its algorithm is written out here: webdataset in a DataLoader, open_clip's Pillow transform and tokenizer
  in its workers, float32 batches through `encode_image` and `encode_text` at the full context, float16 embeddings;
- what people write with open_clip: a loop over batches, and one over single pictures.

Weights are random: the speed is that of the real model, the score differences are indicative only. All run on the same
threads. On 2 cores without AMX a picture of ViT-B/32 takes a tenth of a second: keep the numbers small.

Source: clip-retrieval 2.45 (Beaumont 2022), clip_inference: reader, mapper.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import webdataset
from numpy.typing import NDArray
from PIL import Image

from benchmarks.drawings import emoji
from filters.models.compute import cpu_threads
from filters.scorer import Batch
from filters.scorers.clip import Clip
from pipeline.pools.samples import decoded_batches
from winnow.openclip import create_clip, model_name
from winnow.shards import ShardWriter, read_shard
from winnow.storage import Store

Scores = NDArray[np.float32]
TAR = "00000.tar"


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="open_clip name or JSON architecture; random weights")
    parser.add_argument("--images", type=Path, help="parquet file with encoded pictures; default: rendered OpenMoji")
    parser.add_argument("--column", default="image", help="its column of bytes")
    parser.add_argument("--num-images", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of all; 0: all cores")
    args = parser.parse_args()

    data = stored_pictures(args.images, args.column, args.num_images) if args.images else emoji(args.num_images)
    with tempfile.TemporaryDirectory() as folder:
        write_tar(Path(folder) / TAR, data)
        checkpoint = Path(folder) / "model.pt"
        torch.manual_seed(0)
        torch.save(create_clip(args.model).state_dict(), checkpoint)
        scorer = Clip(model=args.model, pretrained=str(checkpoint), batch_size=args.batch_size, threads=args.threads)
        scorer.setup()
        title = f"{args.model} (random weights), {scorer.identity()['precision']}"
        peer = Peer(args.model, checkpoint)
        workers = cpu_threads(args.threads)
        paths: dict[str, Callable[[], Scores]] = {
            "ours": lambda: ours(scorer, folder, args.batch_size),
            "clip-retrieval": lambda: peer.clip_retrieval(Path(folder) / TAR, args.batch_size, workers),
            f"loop, batches of {args.batch_size}": lambda: peer.loop(Path(folder) / TAR, args.batch_size),
            "loop, one by one": lambda: peer.loop(Path(folder) / TAR, 1),
        }
        torch.set_num_threads(workers)
        for path in paths.values():
            path()  # warm up
        seconds: dict[str, list[float]] = {name: [] for name in paths}
        scores: dict[str, Scores] = {}
        for _ in range(args.repeats):
            for name, path in paths.items():
                start = time.perf_counter()
                scores[name] = path()
                seconds[name].append(time.perf_counter() - start)
    report(title, len(data), seconds, scores)


def report(title: str, num: int, seconds: dict[str, list[float]], scores: dict[str, Scores]) -> None:
    """Print pictures per second, the median of the ratios of neighbouring runs, and how far the scores lie apart."""
    print(f"{title}, {num} pictures, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        ratio = statistics.median(other / own for other, own in zip(times, seconds["ours"], strict=True))
        gap = np.abs(scores[name] - scores["ours"])
        line = f"{name:>22}: {num / statistics.median(times):7.1f} pictures/s"
        if name != "ours":
            line += f"   ratio {ratio:.2f}x; |score difference| mean {gap.mean():.5f}, max {gap.max():.5f}"
        print(line)


def ours(scorer: Clip, folder: str, batch_size: int) -> Scores:
    """Score as the score stage does: decoded in threads, one batch ahead."""
    out = []
    for samples in decoded_batches(Store(folder), TAR, batch_size=batch_size, threads=2, images=True):
        images = [sample.image for sample in samples if sample.image is not None]
        captions = [sample.caption for sample in samples]
        out.append(scorer.score(Batch([""] * len(images), captions, [{}] * len(images), images))["similarity"])
    return np.concatenate(out)


class Peer:
    """What the peers share: open_clip's model, its Pillow transform, its tokenizer, float32."""

    def __init__(self, model: str, checkpoint: Path) -> None:
        import open_clip

        self.model = create_clip(model, str(checkpoint))
        config = self.model.visual.preprocess_cfg
        self.transform = open_clip.image_transform(
            config["size"], is_train=False, mean=config["mean"], std=config["std"]
        )
        self.tokenizer: Any = open_clip.get_tokenizer(model_name(model))

    @torch.inference_mode()
    def loop(self, tar: Path, batch_size: int) -> Scores:
        """Return the similarities, read, transformed and embedded in turn."""
        out = []
        with tar.open("rb") as file:
            samples = list(read_shard(file))
        for start in range(0, len(samples), batch_size):
            batch = samples[start : start + batch_size]
            pictures = [self.transform(Image.open(io.BytesIO(sample.image or b"")).convert("RGB")) for sample in batch]
            image = self.model.encode_image(torch.stack(pictures), normalize=True)
            text = self.model.encode_text(self.tokenizer([sample.caption for sample in batch]), normalize=True)
            out.append((image * text).sum(dim=1).numpy())
        return np.concatenate(out)

    @torch.no_grad()
    def clip_retrieval(self, tar: Path, batch_size: int, workers: int) -> Scores:
        """Return the similarities of the embeddings that clip-retrieval's inference would write.

        One DataLoader worker per core at most: a shard is read by one of them, as there.
        """
        images, texts = [], []
        for batch in self._loader(tar, batch_size, workers):
            image = self.model.encode_image(batch["image_tensor"])
            image /= image.norm(dim=-1, keepdim=True)
            text = self.model.encode_text(batch["text_tokens"])
            text /= text.norm(dim=-1, keepdim=True)
            images.append(image.cpu().to(torch.float16).numpy())
            texts.append(text.cpu().to(torch.float16).numpy())
        pairs = zip(np.concatenate(images).astype(np.float32), np.concatenate(texts).astype(np.float32), strict=True)
        return np.array([image @ text for image, text in pairs], np.float32)

    def _loader(self, tar: Path, batch_size: int, workers: int) -> Iterator[dict[str, torch.Tensor]]:
        """Yield its batches."""

        def prepare(item: dict[str, Any]) -> dict[str, Any]:
            caption = item["txt"].decode("utf-8")
            return {
                "image_filename": item["__key__"],
                "image_tensor": self.transform(Image.open(io.BytesIO(item["jpg"]))),
                "text_tokens": self.tokenizer([caption])[0],
                "text": caption,
            }

        dataset = webdataset.WebDataset([str(tar)], shardshuffle=False, empty_check=False)
        dataset = dataset.select(lambda item: "txt" in item and "jpg" in item).map(prepare)
        loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size, num_workers=workers, prefetch_factor=2)
        yield from loader


def write_tar(path: Path, pictures: list[bytes]) -> None:
    """Write a shard of pictures with captions of 7 to 19 words."""
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for number, picture in enumerate(pictures):
            caption = f"a picture of thing number {number}, seen {'from far away ' * (number % 5)}in daylight"
            writer.write(f"{number:09d}", {"jpg": picture, "txt": caption.encode(), "json": b"{}"})
        writer.close()


def stored_pictures(path: Path, column: str, num: int) -> list[bytes]:
    """Return the first encoded pictures of a parquet file."""
    batch = next(pq.ParquetFile(path).iter_batches(batch_size=num, columns=[column]))
    return [bytes(item) for item in batch.column(column).to_pylist()]


if __name__ == "__main__":
    main()
