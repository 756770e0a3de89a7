"""Time our resharding of a pool against DataComp's algorithm: read, filter by uid and write with webdataset.

    python -m benchmarks.reshard [--samples 20000] [--pairs 5] [--keep 0.3]

Both read the same tars and keep the same samples, whose members are compared at the end. Ours is the whole stage:
plan, global shuffle, copy, sha256 and fsync of each shard; DataComp's keeps the order of the pool, and neither hashes
nor flushes. Medians of the ratios of runs in turn are printed: for a fresh worker, and for one that has indexed the
pool for an earlier subset.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), resharder.py: uid from the sample's JSON, binary search in the
subset, one copy `<uid>-<j>` per repeat, 10,000 samples a shard.
"""

import argparse
import hashlib
import io
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from filters.subset import read_subset
from pipeline.engine.perform import perform
from pipeline.stage import Stage
from pipeline.stages import reshard
from pipeline.stages.select import Select
from winnow.journal import Journal
from winnow.shards import ShardWriter, read_shard
from winnow.uid import UID

__all__ = ["main"]

PER_SHARD = 10_000
"""Samples of a shard, DataComp's number."""
PICTURE_BYTES = 24_000
"""The mean of DataComp's pictures at 256 px."""


def main() -> None:
    """Make a pool, time both, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--keep", type=float, default=0.3, help="share of the pool that is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pool(root / "pool", arguments.samples)
        fields = {"pool": str(root / "pool"), "run_dir": str(root / "run")}
        drive(Select(strategies={"kept": {"use": "random_subset", "fraction": arguments.keep}}, **fields))
        first, later = [], []
        for pair in range(arguments.pairs):
            theirs = timed(
                lambda: datacomp(root / "pool/shards", root / "run/subsets/kept.npy", fresh(root / "theirs"))
            )
            reshard._source.cache_clear()  # a fresh worker remembers nothing
            fresh(root / "run/shards/kept")
            ours_first = timed(lambda: ours(fields))
            fresh(root / "run/shards/kept")
            ours_next = timed(lambda: ours(fields))
            first.append(theirs / ours_first)
            later.append(theirs / ours_next)
            print(f"pair {pair}: webdataset {theirs:.2f} s, ours {ours_first:.2f} s, once indexed {ours_next:.2f} s")
        assert content(root / "theirs") == content(root / "run/shards/kept"), "the two disagree"
        print(
            f"median of {arguments.pairs} ratios: {statistics.median(first):.1f}x for a worker's first subset, "
            f"{statistics.median(later):.1f}x for the next"
        )


def fresh(folder: Path) -> Path:
    """Return a folder, empty: to overwrite large files costs time that a first run does not spend."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_pool(path: Path, num_samples: int) -> None:
    """Write a pool of random bytes in img2dataset's layout."""
    (path / "shards").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for start in range(0, num_samples, PER_SHARD):
        name = path / "shards" / f"{start // PER_SHARD:05d}"
        rows = []
        with name.with_suffix(".tar").open("wb") as file:
            writer = ShardWriter(file)
            for number in range(start, min(start + PER_SHARD, num_samples)):
                uid = hashlib.sha256(str(number).encode()).hexdigest()[:32]
                row = {"uid": uid, "url": f"http://pictures/{number}", "caption": f"picture {number}"}
                row |= {"key": f"{number:09d}", "status": "success"}
                picture = rng.bytes(int(rng.integers(PICTURE_BYTES // 2, 3 * PICTURE_BYTES // 2)))
                side = json.dumps(row, indent=4).encode()
                writer.write(row["key"], {"jpg": picture, "txt": row["caption"].encode(), "json": side})
                rows.append(row)
            writer.close()
        pq.write_table(pa.Table.from_pylist(rows), name.with_suffix(".parquet"))


def drive(stage: Stage) -> None:
    """Run every unit of a stage here and now."""
    journal = Journal(stage.store)
    for unit in stage.plan():
        outcome = perform(stage, unit)
        assert not outcome.error, outcome.detail or outcome.error
        for row in outcome.rows:
            journal.append(row)


def ours(fields: dict[str, str]) -> None:
    """Reshard with our stage, in an order that has to be worked out."""
    reshard._order.cache_clear()
    drive(reshard.Reshard(samples_per_shard=PER_SHARD, **fields))


def datacomp(source: Path, subset: Path, target: Path) -> None:
    """Reshard as DataComp does."""
    kept = read_subset(subset.read_bytes())
    written, writer = 0, webdataset.TarWriter(str(target / "00000000.tar"))
    samples = webdataset.WebDataset([str(path) for path in sorted(source.glob("*.tar"))], shardshuffle=False)
    for sample in samples:
        uid = json.loads(sample["json"])["uid"]
        key = np.array((int(uid[:16], 16), int(uid[16:], 16)), UID)
        repeats = np.searchsorted(kept, key, "right") - np.searchsorted(kept, key, "left")
        for copy in range(repeats):
            if written and written % PER_SHARD == 0:
                writer.close()
                writer = webdataset.TarWriter(str(target / f"{written // PER_SHARD:08d}.tar"))
            members = {suffix: data for suffix, data in sample.items() if not suffix.startswith("__")}
            writer.write({"__key__": f"{uid}-{copy}", **members})
            written += 1
    writer.close()


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def content(folder: Path) -> dict[str, str]:
    """Return key -> hash of the members of every sample in a folder of tars."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        for sample in read_shard(io.BytesIO(path.read_bytes()), path.name):
            members = sorted((suffix, hashlib.sha256(data).hexdigest()) for suffix, data in sample.members.items())
            found[sample.key] = str(members)
    return found


if __name__ == "__main__":
    main()
