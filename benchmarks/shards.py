"""Read and write shards beside webdataset, on the same samples, in alternating runs.

    python benchmarks/shards.py [--samples 2000] [--repeats 5] [--images pictures.parquet]

write: `winnow.shards.ShardWriter` against `webdataset.TarWriter`, to the same file system, nothing flushed.
read: every member of every sample as bytes, `winnow.shards.read_shard` against `webdataset.WebDataset`.
train: what a training step gets, decoded, cropped at random (RandomResizedCrop, scale 0.9 to 1) to --size pixels and
stacked: `training.data.batches` against a webdataset pipeline with Pillow and torchvision's transforms (open_clip's),
on one thread each; both deliver the same number of pictures.

Times are CPU seconds of the process, so that a busy machine does not matter; medians of the repeats.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import webdataset
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms

from training.crops import random_resized_crop
from training.data import Pairs
from training.order import Order
from training.stream import batches
from training.system import System
from winnow.shards import ShardWriter, read_shard

__all__ = ["main"]

Sample = tuple[str, dict[str, bytes]]


def main() -> None:
    """Time the three jobs and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=224, help="side of the training crops, pixels")
    parser.add_argument("--images", type=Path, help="parquet file with a column `image` of encoded JPEGs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    samples = make_samples(args.samples, args.images)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.tar", Path(folder) / "theirs.tar"
        compare("write", args.repeats, lambda: write_theirs(samples, theirs), lambda: write_ours(samples, ours))
        compare("read", args.repeats, lambda: read_theirs(ours), lambda: read_ours(ours))
        compare("train", args.repeats, lambda: train_theirs(ours, args.size), lambda: train_ours(ours, args.size))


def make_samples(count: int, images: Path | None) -> list[Sample]:
    """Return pairs with img2dataset's members; JPEGs of 256 px, photographs or smooth noise of like size."""
    pictures = pq.read_table(images, columns=["image"])["image"].to_pylist() if images else noise_pictures()
    side = {"url": "http://example/" + "p" * 60, "status": "success", "width": 256, "height": 256}
    return [
        (
            f"{index:09d}",
            {
                "jpg": pictures[index % len(pictures)],
                "txt": f"a caption of picture {index} with some words".encode(),
                "json": json.dumps({"uid": f"{index:032x}", **side}, indent=4).encode(),
            },
        )
        for index in range(count)
    ]


def noise_pictures() -> list[bytes]:
    """Return 64 JPEGs of about 20 KB: clouds, which compress like photographs."""
    rng, found = np.random.default_rng(0), []
    for _ in range(64):
        layers = [Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (4, 16, 64, 128)]
        grown = [np.asarray(layer.resize((256, 256), Image.Resampling.BICUBIC), np.float64) for layer in layers]
        picture = np.average(grown, axis=0, weights=(8, 4, 2, 1)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=95)
        found.append(buffer.getvalue())
    return found


def compare(job: str, repeats: int, theirs: Callable[[], int], ours: Callable[[], int]) -> None:
    """Run both in turn, after one run each that does not count, and print medians and their ratio."""
    assert theirs() == ours(), f"{job}: the two deliver different numbers of samples"
    pairs = [(seconds(theirs), seconds(ours)) for _ in range(repeats)]
    count = ours()
    peer, own = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{job:<6} webdataset {count / peer:>8,.0f}/s   ours {count / own:>8,.0f}/s   ratio {ratio:.1f}x")


def seconds(work: Callable[[], int]) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def write_theirs(samples: list[Sample], path: Path) -> int:
    """Write with webdataset, in its default settings."""
    with webdataset.TarWriter(str(path)) as writer:
        for key, members in samples:
            writer.write({"__key__": key, **members})
    return len(samples)


def write_ours(samples: list[Sample], path: Path) -> int:
    """Write with our writer."""
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for key, members in samples:
            writer.write(key, members)
        writer.close()
    return writer.num_samples


def read_theirs(path: Path) -> int:
    """Read all members with webdataset."""
    return sum(1 for _ in webdataset.WebDataset(str(path), shardshuffle=False))


def read_ours(path: Path) -> int:
    """Read all members with our reader."""
    with path.open("rb") as file:
        return sum(1 for _ in read_shard(file))


def train_theirs(path: Path, size: int) -> int:
    """Decode and crop as open_clip's loader does; the normalisation is left out on both sides."""
    crop = transforms.RandomResizedCrop(size, scale=(0.9, 1.0), interpolation=transforms.InterpolationMode.BICUBIC)
    to_tensor = transforms.PILToTensor()
    stream = webdataset.WebDataset(str(path), shardshuffle=False).decode("pilrgb").to_tuple("jpg", "txt")
    pictures = stream.map_tuple(lambda picture: to_tensor(crop(picture)), lambda text: text).batched(100)
    return sum(len(texts) for _, texts in pictures)


def train_ours(path: Path, size: int) -> int:
    """Read the batches of a training run of one pass over the shard, in random order."""
    system = Cropping(size)
    pairs = Pairs([str(path)])
    order = Order(pairs.identities(), 0)
    stop = len(pairs) // 100 * 100
    with batches(pairs, order, system, start=0, stop=stop, batch_size=100, num_workers=1) as stream:
        return sum(len(batch.images) for batch in stream)


class Cropping(System):
    """Crops like the system `clip`; like webdataset's side it tokenizes nothing."""

    def __init__(self, size: int) -> None:
        super().__init__(None)
        self.image_size = size

    def crop(self, picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Cut a picture."""
        return random_resized_crop(picture, (self.image_size, self.image_size), (0.9, 1.0), random)

    def tokenize(self, caption: str) -> torch.Tensor:
        """Return a constant."""
        return torch.zeros(1, dtype=torch.int64)


if __name__ == "__main__":
    main()
