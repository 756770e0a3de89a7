"""Time our download against img2dataset's: the same URLs, server, settings and cores, in turn.

    python -m benchmarks.download [--pictures 1200] [--pairs 5] [--size 500] [--image-size 256] [--workers 1]

A server in a process of its own serves JPEGs from memory on 127.0.0.1: photographs (ImageNet samples, where
`../shared/data` has them, enlarged to --size), else rendered ones. img2dataset runs as its command would, with a
process for each core and 64 threads each, and stores sha256 and EXIF like ours; ours as `winnow run` would, inline. The
medians of the ratios of such pairs are printed: of the time that shards take (from the start of img2dataset's first to
the end of its last; of ours the stage, once everything is imported), and of the whole command, a fresh interpreter's
start included. `--settings datacomp` is DataComp's: 512 px, originals of 1,000 px.

`--cpu` compares CPU time per picture instead, of img2dataset's Downloader and ours in this process: what a machine that
others use too can tell. `--profile` prints where our time goes, in milliseconds of CPU per picture.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "imagenet_samples_256px.parquet"
DISTINCT = 300
"""Different pictures; URLs repeat them, the hash and the key of a row do not care."""
THREADS = 64


def main() -> None:
    """Serve, time both in turn, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1200)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--settings", choices=("small", "datacomp"), default="small", help="256 px of 500, 512 of 1000")
    parser.add_argument("--size", type=int, help="longer side of the originals")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--override", action="append", default=[], help="such as download.fast_decode=false")
    parser.add_argument("--cpu", action="store_true", help="compare CPU time per picture")
    parser.add_argument("--profile", action="store_true", help="print where our time goes instead")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)  # the config that a subprocess is to run
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run, arguments.override)
        return
    size = arguments.size or {"small": 500, "datacomp": 1000}[arguments.settings]
    image_size = arguments.image_size or {"small": 256, "datacomp": 512}[arguments.settings]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mean = write_pictures(folder / "pictures", size)
        print(f"{arguments.pictures} pictures of {size} px, {mean / 1000:.0f} kB on average, to {image_size} px")
        with serving(folder / "pictures") as port:
            write_list(folder / "list.parquet", port, arguments.pictures)
            per_shard = -(-arguments.pictures // arguments.shards)
            if arguments.profile:
                profile(folder, image_size, per_shard)
                return
            if arguments.cpu:
                cpu(folder, image_size, arguments.pairs)
                return
            ratios: list[tuple[float, float]] = []
            for pair in range(arguments.pairs):
                theirs = img2dataset(folder, f"theirs{pair}", image_size, per_shard)
                mine = ours(folder, f"ours{pair}", image_size, per_shard, arguments.override)
                compare(folder, f"theirs{pair}", f"ours{pair}", arguments.pictures)
                ratios.append((theirs[0] / mine[0], theirs[1] / mine[1]))
                rates = [f"{arguments.pictures / seconds:.0f}/s" for seconds in (*theirs, *mine)]
                print(
                    f"pair {pair}: img2dataset {rates[0]} (with start {rates[1]}), ours {rates[2]} (with start "
                    f"{rates[3]}): {ratios[-1][0]:.2f}x and {ratios[-1][1]:.2f}x",
                    flush=True,
                )
            without, included = (statistics.median(column) for column in zip(*ratios, strict=True))
            print(f"median of {len(ratios)} ratios: {without:.2f}x, start-up included {included:.2f}x")


def write_pictures(folder: Path, size: int) -> float:
    """Write the originals and return their mean size in bytes."""
    folder.mkdir()
    total = 0
    for number, picture in enumerate(originals(size)):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        total += buffer.tell()
        (folder / f"{number:05d}.jpg").write_bytes(buffer.getvalue())
    return total / DISTINCT


def originals(size: int) -> Iterator[Image.Image]:
    """Yield pictures with a longer side of `size`: photographs with grain where there are any, else noise and shapes.

    The samples have 256 px; enlarged they are smoother than photographs of their size, so grain is added until they
    take as many bytes as those do, about 0.13 a pixel.
    """
    rng = np.random.default_rng(0)
    sources: Sequence[Image.Image]
    if PHOTOGRAPHS.exists():
        column = pq.read_table(PHOTOGRAPHS, columns=["image"])["image"].slice(0, DISTINCT).to_pylist()
        data = [item["bytes"] if isinstance(item, dict) else item for item in column]
        sources = [Image.open(io.BytesIO(item)).convert("RGB") for item in data]
    else:
        shapes = rng.integers(0, 256, (DISTINCT, 12, 16, 3), dtype=np.uint8)
        sources = [Image.fromarray(pixels) for pixels in shapes]
    for source in sources:
        factor = size / max(source.size)
        new = (round(source.width * factor), round(source.height * factor))
        pixels = np.asarray(source.resize(new, Image.Resampling.BICUBIC)).astype(np.int16)
        grain = rng.normal(0, 4, pixels.shape[:2]).astype(np.int16)[..., None]
        yield Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Run the server and yield its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.download_server", str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def write_list(path: Path, port: int, number: int) -> None:
    """Write the list of URLs."""
    urls = [f"http://127.0.0.1:{port}/p/{row}" for row in range(number)]
    pq.write_table(pa.table({"url": urls, "text": [f"picture {row}" for row in range(number)]}), path)


def img2dataset(folder: Path, name: str, image_size: int, per_shard: int) -> tuple[float, float]:
    """Download with img2dataset and return (seconds of the shards, seconds of the command)."""
    options = {
        "url_list": str(folder / "list.parquet"),
        "output_folder": str(folder / name),
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "text",
        "output_format": "webdataset",
        "image_size": image_size,
        "resize_mode": "keep_ratio_largest",
        "resize_only_if_bigger": True,
        "processes_count": os.cpu_count(),
        "thread_count": THREADS,
        "number_sample_per_shard": per_shard,
        "compute_hash": "sha256",
        "enable_wandb": False,
    }
    script = folder / f"{name}.py"
    script.write_text(f"from img2dataset import download\nif __name__ == '__main__':\n    download(**{options!r})\n")
    start = time.perf_counter()
    command([sys.executable, str(script)])
    whole = time.perf_counter() - start
    stats = [json.loads(path.read_text()) for path in (folder / name).glob("*_stats.json")]
    shards = max(each["end_time"] for each in stats) - min(each["start_time"] for each in stats)
    return shards, whole


def ours(folder: Path, name: str, image_size: int, per_shard: int, overrides: Sequence[str]) -> tuple[float, float]:
    """Download with our command and return (seconds of the shards, seconds of the command)."""
    config = {
        "pool": str(folder / name),
        "run_dir": str(folder / f"{name}-run"),
        "executor": {"use": "inline"},
        "source": {"use": "files", "path": str(folder / "list.parquet")},
        "ingest": {"rows_per_file": per_shard},
        "download": {
            "allow_private": ["127.0.0.1/32"],
            "max_per_host": THREADS,  # the benchmark has a single host
            "image_size": image_size,
            "decode_threads": os.cpu_count(),
        },
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    changes = [part for override in overrides for part in ("--override", override)]
    start = time.perf_counter()
    printed = command([sys.executable, "-m", "benchmarks.download", "--run", str(path), *changes])
    return float(printed), time.perf_counter() - start


def run(path: Path, overrides: Sequence[str]) -> None:
    """Run a config and print the seconds that its download took once everything was imported."""
    from pipeline.config import RunConfig
    from pipeline.runner import run_stage

    config = RunConfig(path, overrides)
    run_stage(config, "ingest")
    config.stages["download"].setup()
    start = time.perf_counter()
    summary = run_stage(config, "download")
    assert not summary.quarantined, summary.quarantined
    sys.stdout.write(f"{time.perf_counter() - start}\n")


def cpu(folder: Path, image_size: int, pairs: int) -> None:
    """Print the CPU time per picture of both, and the median of the ratios."""
    from pipeline.download.collect import collect
    from pipeline.download.convert import Row
    from pipeline.download.shard import write_shard
    from pipeline.stages.download import Download

    listed = pq.read_table(folder / "list.parquet").rename_columns(["url", "caption"])
    rows = [Row(url) for url in listed["url"].to_pylist()]
    common = {"pool": str(folder), "run_dir": str(folder), "image_size": image_size}
    peer = Download(**common, engine="img2dataset", thread_count=THREADS)
    mine = Download(**common, allow_private=("127.0.0.1",), max_per_host=THREADS, thread_count=THREADS)
    mine.setup()

    def theirs_once(attempt: Path) -> None:
        with tempfile.TemporaryFile() as spool:
            peer.ask_img2dataset(rows, attempt, spool)

    def ours_once(attempt: Path) -> None:
        with tempfile.TemporaryFile() as spool:
            outcomes = collect(rows, mine.fetcher().fetch, mine.converter(), spool, mine.decode_threads)
            assert all(outcome.status == "success" for outcome in outcomes)
            write_shard(attempt, "00000", listed, outcomes, spool, len(rows), "jpg")

    ratios = []
    for pair in range(pairs + 1):  # the first one imports, and does not count
        spent = []
        for number, work in enumerate((theirs_once, ours_once)):
            attempt = folder / f"cpu{pair}-{number}"
            attempt.mkdir()
            start = time.process_time()
            work(attempt)
            spent.append((time.process_time() - start) / len(rows) * 1000)
        if pair:
            ratios.append(spent[0] / spent[1])
            print(f"pair {pair}: img2dataset {spent[0]:.2f} ms, ours {spent[1]:.2f} ms: {ratios[-1]:.2f}x", flush=True)
    print(f"median of {len(ratios)} ratios of CPU time: {statistics.median(ratios):.2f}x")


def command(arguments: Sequence[str]) -> str:
    """Run a command quietly and return the last line it prints; its output is shown where it fails."""
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stdout + result.stderr)
    return (result.stdout.splitlines() or [""])[-1]


def compare(folder: Path, theirs: str, mine: str, number: int) -> None:
    """See to it that both obtained every picture and call it the same."""
    tables = []
    for files in ((folder / theirs).glob("*.parquet"), (folder / mine / "shards").glob("*.parquet")):
        table = pa.concat_tables([pq.read_table(path) for path in sorted(files)]).sort_by("url")
        tables.append(table.select(["url", "status", "width", "height", "original_width", "sha256"]))
    assert tables[0].num_rows == number
    assert tables[0].to_pydict() == tables[1].to_pydict(), "the two disagree"
    assert set(tables[0]["status"].to_pylist()) == {"success"}


def profile(folder: Path, image_size: int, per_shard: int) -> None:
    """Print the CPU time of each step of ours, one core, alone, and of the whole."""
    from pipeline.download.decode import blank
    from pipeline.download.exif import exif_json
    from pipeline.download.fetch import Fetched, Fetcher
    from pipeline.download.resize import Resizer
    from pipeline.engine.perform import perform
    from pipeline.stages.download import Download
    from pipeline.stages.ingest import Ingest
    from winnow.shards import sample_bytes

    urls = pq.read_table(folder / "list.parquet")["url"].to_pylist()[:per_shard]
    bodies: dict[int, bytes] = {}

    def keep(index: int, fetched: Fetched) -> None:
        assert fetched.body is not None
        bodies[index] = fetched.body

    resizer = Resizer(image_size=image_size)
    resizer.make(blank(image_size * 2, image_size * 2), b"")  # imports
    steps: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        steps[name] = (time.process_time() - start) / len(urls) * 1000

    with step("http"):
        Fetcher(connections=THREADS, max_per_host=THREADS, allow_private=["127.0.0.1"]).fetch(urls, keep)
    ordered = [bodies[index] for index in range(len(urls))]
    with step("sha256"):
        import hashlib

        for body in ordered:
            hashlib.sha256(body).hexdigest()
    with step("decode"):
        pictures = [resizer.decode(body) for body in ordered]
    with step("exif"):
        for picture in pictures:
            exif_json(picture.header)
    with step("resize"):
        small = [resizer._resize(picture, ()) for picture in pictures]
    with step("encode"):
        encoded = [resizer._encode(pixels) for pixels in small]
    with step("tar"):
        for number, data in enumerate(encoded):
            sample_bytes(f"{number:09d}", {"jpg": data, "txt": b"picture", "json": b" " * 500})
    common = {
        "pool": str(folder / "pool"),
        "run_dir": str(folder / "run"),
        "source": {"use": "files", "path": str(folder / "list.parquet")},
    }
    ingest = Ingest(**common, rows_per_file=per_shard)
    for unit in ingest.plan():
        perform(ingest, unit)
    stage = Download(**common, allow_private=("127.0.0.1",), image_size=image_size, max_per_host=THREADS)
    unit = stage.plan()[0]
    start = time.perf_counter()
    with step("the whole shard"):
        outcome = perform(stage, unit)
    seconds = time.perf_counter() - start
    assert not outcome.error, outcome.detail
    listed = sum(value for name, value in steps.items() if name != "the whole shard")
    steps["all else (threads, table, sidecars, files)"] = steps["the whole shard"] - listed
    for name, value in steps.items():
        print(f"  {name:<45} {value:6.3f} ms")
    print(f"  {len(urls) / seconds:.0f} pictures/s, {steps['the whole shard'] * len(urls) / 1000 / seconds:.2f} cores")


if __name__ == "__main__":
    main()
