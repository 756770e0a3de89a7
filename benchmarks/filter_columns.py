"""Time our select on the columns of a large pool against DataComp's way of filtering: pandas, one process per parquet.

    python -m benchmarks.filter_columns [--rows 12800000] [--files 128] [--turns 3] [--data FOLDER]

Both keep what passes basic, the top 30 % of a CLIP score (DataComp's rule for ties) and the image-based rule, of the
same synthetic metadata files: DataComp small has 12.8 million rows. Each run is a process of its own, timed from start
to end, imports and all, in turn; the subset files must be equal to the byte. Ours is the whole stage: it also writes
why each row was dropped, hashes and flushes its files. Language and cluster hits are columns for both, as models would
have found them. Memory is the highest sum over the processes of a run, pages that they share counted once.

Source: Gadre et al. 2023, DataComp (arXiv 2304.14108), baselines/apply_filter.py: one pass over the scores for the
threshold, one over all columns, files spread over processes, `int(uid, 16)` for each kept row, a sort of the pairs.
"""

import argparse
import importlib.util
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.uid import UID, to_arrow

__all__ = ["main"]

SCORE = "clip_l14_similarity_score"
FRACTION = 0.3
LANGUAGES = ["en", "de", "fr", "es", "ru", "zh", "ja", "und"]
SHARE_ENGLISH = 0.45
RULES: dict[str, Any] = {
    "use": "all_of",
    "of": [
        {"use": "basic", "language_column": "meta.language"},
        {"use": "clip_score", "score": f"meta.{SCORE}", "fraction": FRACTION, "compat": True},
        {"use": "image_based", "language_column": "meta.language", "hit": "meta.hit"},
    ],
}


def main() -> None:
    """Make the data, run both in turn, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=12_800_000)
    parser.add_argument("--files", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder for the data, kept for the next time (1.2 GB by default)")
    parser.add_argument("--run", choices=list(WAYS), help=argparse.SUPPRESS)  # what a subprocess is to do
    arguments = parser.parse_args()
    if arguments.run:
        WAYS[arguments.run](arguments.data)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.data or Path(folder)
        write_pool(root / "pool" / "metadata", arguments.rows, arguments.files)
        figures: dict[str, list[Figures]] = {name: [] for name in available()}
        for turn in range(arguments.turns):
            for name, found in figures.items():
                found.append(measured(root, name))
                print(f"turn {turn}: {name} {found[-1]}", flush=True)
        compare(root, figures)


class Figures(NamedTuple):
    """What a run took."""

    seconds: float
    """Of wall-clock time."""
    cpu: float
    """Seconds of all processors: what remains of a comparison on a machine that others use too."""
    memory: float
    """Most MiB in memory."""

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, {self.cpu:.2f} s of CPU, {self.memory:.0f} MiB"


def compare(root: Path, figures: dict[str, list[Figures]]) -> None:
    """See that the subsets are equal, and print medians and ratios."""
    files = {name: (root / name / "subsets/kept.npy").read_bytes() for name in figures}
    assert len(set(files.values())) == 1, "the subsets differ"
    print(f"{len(np.load(root / 'winnow/subsets/kept.npy')):,} rows kept by each, files equal to the byte")
    medians = {name: Figures(*map(statistics.median, zip(*found, strict=True))) for name, found in figures.items()}
    for name, median in medians.items():
        seconds, cpu, memory = (theirs / ours for theirs, ours in zip(median, medians["winnow"], strict=True))
        print(f"{name}: median {median}; {seconds:.1f}x the time, {cpu:.1f}x the CPU, {memory:.1f}x the memory of ours")


def measured(root: Path, name: str) -> Figures:
    """Run one way in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.filter_columns", "--run", name, "--data", str(root)]
    peak, process = 0, subprocess.Popen(command)
    while process.poll() is None:
        peak = max(peak, held(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    assert process.returncode == 0, f"{name} failed"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(seconds, cpu, peak / 2**20)


def held(pid: int) -> int:
    """Return the bytes in memory of a process and all that it started, pages that they share counted once."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it ended while we looked
        return 0
    mine = sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
    return mine + sum(held(int(child)) for child in children)


def winnow(root: Path) -> None:
    """Run the stage."""
    from pipeline.engine.perform import perform
    from pipeline.stages.select import Select

    stage = Select(pool=str(root / "pool"), run_dir=str(root / "winnow"), strategies={"kept": RULES})
    (unit,) = stage.plan()
    outcome = perform(stage, unit)
    assert not outcome.error, outcome.detail or outcome.error


def pandas(root: Path) -> None:
    """Filter as DataComp does: three filters, each with its own subset, then what all of them hold."""
    paths = files_of(root)
    with multiprocessing.Pool(os.cpu_count()) as workers:
        threshold = pandas_threshold(workers, paths)
        parts = [partial(pandas_kept, filters=(rule,)) for rule in (pandas_basic, pandas_image)]
        parts.append(partial(pandas_kept, filters=(), threshold=threshold))
        subsets = []
        for part in parts:
            subsets.append(np.concatenate(workers.map(part, paths, chunksize=1)))
            subsets[-1].sort()
    first, *others = subsets
    for other in others:
        first = np.intersect1d(first, other, assume_unique=True)
    save(root / "pandas", first)


def pandas_at_once(root: Path) -> None:
    """Filter in DataComp's manner in one function: rows below the threshold are out before any text is looked at."""
    paths = files_of(root)
    with multiprocessing.Pool(os.cpu_count()) as workers:
        threshold = pandas_threshold(workers, paths)
        part = partial(pandas_kept, filters=(pandas_basic, pandas_image), threshold=threshold)
        kept = np.concatenate(workers.map(part, paths, chunksize=1))
    kept.sort()
    save(root / "pandas_at_once", kept)


def pandas_threshold(workers: Any, paths: list[Path]) -> float:
    """Return the score at the place of the fraction, having sorted all."""
    scores = np.concatenate(workers.map(pandas_scores, paths, chunksize=1))
    return float(-np.sort(-scores)[int(len(scores) * FRACTION)])


def pandas_scores(path: Path) -> np.ndarray:
    """Return the scores of one file."""
    import pandas as pd

    return pd.read_parquet(path, columns=[SCORE])[SCORE].to_numpy()


def pandas_kept(path: Path, filters: tuple[Callable[..., Any], ...], threshold: float | None = None) -> np.ndarray:
    """Return the uids that one file keeps; only the columns that are needed are read."""
    import pandas as pd

    names = {"uid", *(name for rule in filters for name in READS[rule.__name__])}
    frame = pd.read_parquet(path, columns=sorted(names | ({SCORE} if threshold is not None else set())))
    if threshold is not None:
        frame = frame[frame[SCORE] >= threshold]
    for rule in filters:
        frame = rule(frame)
    return np.array([(int(uid[:16], 16), int(uid[16:32], 16)) for uid in frame.uid], UID)


READS = {
    "pandas_basic": ("text", "language", "original_width", "original_height"),
    "pandas_image": ("text", "language", "hit"),
}


def pandas_basic(frame: Any) -> Any:
    """Return the rows that pass the basic rules."""
    frame = frame[frame.language == "en"]
    frame = frame[frame.text.apply(lambda text: len(text.split()) > 2 and len(text) > 5)]
    sides = frame[["original_width", "original_height"]]
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    return frame[(shorter >= 200) & (longer / shorter <= 3.0)]


def pandas_image(frame: Any) -> Any:
    """Return the rows that pass the image-based rules."""
    frame = frame[(frame.language == "en") & frame.hit]
    return frame[frame.text.apply(lambda text: len(text.split()) > 1 and len(text) > 5)]


def files_of(root: Path) -> list[Path]:
    """Return the metadata files."""
    return sorted((root / "pool/metadata").glob("*.parquet"))


def polars(root: Path) -> None:
    """Filter with a query of polars."""
    pl: Any = importlib.import_module("polars")  # no dependency: measured where it is installed
    frame = pl.scan_parquet(root / "pool/metadata/*.parquet")
    scores = -np.sort(-frame.select(SCORE).collect()[SCORE].to_numpy())
    shorter, longer = (find(("original_width", "original_height")) for find in (pl.min_horizontal, pl.max_horizontal))
    rules = (
        (pl.col(SCORE) >= scores[int(len(scores) * FRACTION)])
        & (pl.col("language") == "en")
        & pl.col("hit")
        & (pl.col("text").str.split(" ").list.eval(pl.element().filter(pl.element() != "")).list.len() > 2)
        & (pl.col("text").str.len_chars() > 5)
        & (shorter >= 200)
        & (longer / shorter <= 3.0)
    )
    uids = frame.filter(rules).select("uid").collect(engine="streaming")["uid"]
    kept = np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids], UID)
    kept.sort()
    save(root / "polars", kept)


WAYS: dict[str, Callable[[Path], None]] = {
    "winnow": winnow,
    "pandas": pandas,
    "pandas_at_once": pandas_at_once,
    "polars": polars,
}


def available() -> list[str]:
    """Return the ways whose package is installed."""
    return [name for name in WAYS if name == "winnow" or importlib.util.find_spec(name.partition("_")[0])]


def save(run: Path, subset: np.ndarray) -> None:
    """Write a subset where the stage writes it."""
    (run / "subsets").mkdir(parents=True, exist_ok=True)
    np.save(run / "subsets/kept.npy", subset)


def write_pool(folder: Path, num_rows: int, num_files: int) -> None:
    """Write metadata files of so many rows in all, unless they are there."""
    marker = folder.parent / f"{num_rows}-{num_files}"
    if marker.exists():
        return
    assert not folder.exists() or not any(folder.iterdir()), f"{folder} holds other data; name another --data"
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [len(part) for part in np.array_split(np.arange(num_rows), num_files)]
    with multiprocessing.Pool(os.cpu_count()) as workers:
        workers.starmap(write_file, [(folder / f"{i:05d}.parquet", i, size) for i, size in enumerate(sizes)])
    marker.touch()


def write_file(path: Path, number: int, num_rows: int) -> None:
    """Write one metadata file: random uids, captions of 9 words on average, sizes and scores spread as on the web."""
    rng = np.random.default_rng(number)
    uids = rng.integers(0, 2**64, (num_rows, 2), dtype=np.uint64).view(UID)[:, 0]
    lengths = rng.geometric(1 / 9, num_rows)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    words = pa.array(vocabulary()).take(pa.array(rng.zipf(1.3, int(bounds[-1])) % 20_000))
    side = np.exp(rng.normal(6.2, 0.6, num_rows))
    ratio = np.exp(rng.normal(0.2, 0.5, num_rows))
    english = rng.random(num_rows) < SHARE_ENGLISH
    table = {
        "uid": to_arrow(uids),
        "text": pc.binary_join(pa.ListArray.from_arrays(pa.array(bounds), words), " "),
        "original_width": pa.array((side * ratio).astype(np.int64) + 1),
        "original_height": pa.array(side.astype(np.int64) + 1),
        "language": pa.array(LANGUAGES).take(pa.array(np.where(english, 0, rng.integers(1, 8, num_rows)))),
        "hit": pa.array(rng.random(num_rows) < 0.4),
        SCORE: pa.array(rng.normal(0.2, 0.06, num_rows).astype(np.float32)),
    }
    pq.write_table(pa.table(table), path)  # snappy, as pandas writes


def vocabulary() -> list[str]:
    """Return 20,000 words, one in twelve of them not ASCII."""
    rng = np.random.default_rng(0)
    plain, other = list("abcdefghijklmnopqrstuvwxyz"), list("äéøßжшя日本写真")
    return ["".join(rng.choice(other if i % 12 == 7 else plain, rng.integers(1, 11))) for i in range(20_000)]


if __name__ == "__main__":
    main()
