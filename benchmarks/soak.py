"""Soak: a large pool through download, score, select and reshard while workers and drivers are killed at random.

    python -m benchmarks.soak [--urls 200000] [--every 10] [--executor process] [--folder FOLDER]

One command, `winnow run`, is started again whenever it was killed, until it ends by itself. Most kills hit a worker
(SIGKILL), one in four the driver with all its workers. A web server on 127.0.0.1 has small pictures under nine URLs in
ten, and 404 under the others; one row in two hundred comes twice. Afterwards everything is reconciled: `winnow verify`,
and by rules of its own each row of the list with its status, each subset with the tars of its shards. The memory of
driver and workers is looked at twice a second, and told by stage for the first and the second half of its units.
"""

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmarks.download import serving
from benchmarks.drawings import emoji
from winnow.openclip import create_clip
from winnow.uid import from_hex, make_uid, to_hex

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "configs/models/winnow-tiny.json"
PICTURES, SIDE = 512, 96
GONE = 10
"""One URL in so many has no picture."""
TWICE = 200
"""One row in so many is in the list a second time."""
DRIVERS = 0.25
"""Share of the kills that hit the driver."""
CONFIG = """
pool: pool
run_dir: run
source: {{use: files, path: list.parquet}}
executor: {{use: {executor}, workers: 2, attempts: 10}}
ingest: {{rows_per_file: 1000}}
download: {{image_size: 64, allow_private: [127.0.0.1/32], max_per_host: 64, retries: 5}}
score:
  scorers:
    clip: {{model: {model}, pretrained: clip.pt, batch_size: 64}}
    caption_stats: {{}}
    image_stats: {{}}
select:
  strategies:
    no_filter: {{}}
    clip_score: {{fraction: 0.3}}
    half: {{use: random_subset, fraction: 0.5}}
reshard: {{samples_per_shard: 1000}}
"""


@dataclass
class Watch:
    """What happened while the run was watched."""

    kills: Counter[str] = field(default_factory=Counter)
    memory: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """(stage, "driver" or "worker", half of the stage's units) -> most bytes in memory."""


def main() -> None:
    """Make the list, run and kill, reconcile, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--urls", type=int, default=200_000)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two kills, on average")
    parser.add_argument("--executor", choices=("process", "ray"), default="process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to, kept; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        write_pictures(root / "pictures")
        torch.manual_seed(0)
        torch.save(create_clip(str(MODEL)).state_dict(), root / "clip.pt")
        (root / "config.yaml").write_text(CONFIG.format(executor=arguments.executor, model=MODEL))
        with serving(root / "pictures") as port:
            write_list(root / "list.parquet", port, arguments.urls)
            watch, start = Watch(), time.monotonic()
            starts = run(root, watch, random.Random(arguments.seed), arguments.every)
            seconds = time.monotonic() - start
        print(f"{arguments.urls:,} URLs in {seconds:.0f} s, {arguments.urls / seconds:.0f} URLs/s for all stages")
        print(f"killed: {watch.kills['worker']} workers, {watch.kills['driver']} drivers; {starts} starts")
        show_memory(watch)
        reconcile(root)


def write_pictures(folder: Path) -> None:
    """Write small pictures for the server."""
    folder.mkdir(parents=True)
    for number, data in enumerate(emoji(PICTURES)):
        Image.open(io.BytesIO(data)).resize((SIDE, SIDE)).save(folder / f"{number:04d}.jpg", quality=90)


def write_list(path: Path, port: int, number: int) -> None:
    """Write the list of URLs and captions."""
    rows = [*range(number), *range(0, number, TWICE)]
    urls = [f"http://127.0.0.1:{port}/{'gone' if row % GONE == 0 else 'p'}/{row}" for row in rows]
    pq.write_table(pa.table({"url": urls, "text": [f"a picture of thing number {row}" for row in rows]}), path)


def run(root: Path, watch: Watch, chance: random.Random, every: float) -> int:
    """Start the command until it ends by itself; return how often."""
    starts = 0
    while True:
        starts += 1
        with (root / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "run", "config.yaml"],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )
        with memory_watched(root, process.pid, watch):
            killed = disturb(process, watch, chance, every)
        if process.wait() == 0:
            return starts
        assert killed, (root / "log.txt").read_text()[-3000:]


def disturb(process: subprocess.Popen[bytes], watch: Watch, chance: random.Random, every: float) -> bool:
    """Kill workers now and then until the command has ended, at last perhaps by killing its driver: tell whether so."""
    while True:
        try:
            process.wait(chance.expovariate(1 / every))
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        if chance.random() < DRIVERS:
            process.send_signal(signal.SIGKILL)
            process.wait()
            watch.kills["driver"] += 1
            return True
        if workers := workers_of(process.pid):
            try:
                os.kill(chance.choice(workers), signal.SIGKILL)
            except ProcessLookupError:  # it has just ended
                continue
            watch.kills["worker"] += 1


def workers_of(pid: int) -> list[int]:
    """Return the processes below a driver that make units."""
    found = []
    for child in children_of(pid):
        command = command_of(child)
        if "spawn_main" in command or command.startswith("ray::_Actor"):
            found.append(child)
        found += workers_of(child)
    return found


def children_of(pid: int) -> list[int]:
    """Return the processes that any thread of a process has started."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:  # it has just ended
            continue
    return found


def command_of(pid: int) -> str:
    """Return the command line of a process, "" where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


@contextmanager
def memory_watched(root: Path, driver: int, watch: Watch) -> Iterator[None]:
    """Look at the memory of a driver and its workers twice a second."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            stage, half = progress(root)
            for role, pids in (("driver", [driver]), ("worker", workers_of(driver))):
                key = (stage, role, half)
                watch.memory[key] = max(watch.memory.get(key, 0), *map(resident, pids), 0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def progress(root: Path) -> tuple[str, int]:
    """Return the stage at work and whether it is in the first or the second half of its units."""
    files = [*root.glob("pool/progress/*.json"), *root.glob("run/progress/*.json")]
    try:
        pulse = json.loads(max(files, key=lambda path: path.stat().st_mtime).read_text())
    except (OSError, ValueError):  # none yet, or just being replaced
        return "start", 1
    return str(pulse["stage"]), 1 + (2 * (pulse["done"] + pulse["skipped"]) > pulse["planned"])


def resident(pid: int) -> int:
    """Return a process's bytes in memory, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def show_memory(watch: Watch) -> None:
    """Print the most memory by stage."""
    print("most memory in MiB, first half of the units -> second half")
    for stage in dict.fromkeys(stage for stage, _, _ in watch.memory):
        parts = []
        for role in ("driver", "worker"):
            halves = (watch.memory.get((stage, role, half), 0) / 2**20 for half in (1, 2))
            parts.append(f"{role} {' -> '.join(f'{amount:.0f}' if amount else 'not seen' for amount in halves)}")
        print(f"  {stage:<9} {', '.join(parts)}")


def reconcile(root: Path) -> None:
    """See that nothing is lost and nothing is there twice, by the list and by what lies in the tars.

    Raises:
        AssertionError: something is.
    """
    command = [sys.executable, "-m", "pipeline", "verify", "pool"]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, capture_output=True
    )
    print(f"winnow verify: {done.stdout.strip()}")
    assert done.returncode == 0
    listed = pq.read_table(root / "list.parquet").to_pydict()
    wanted = {make_uid(url, text): "/p/" in url for url, text in zip(listed["url"], listed["text"], strict=True)}
    status: dict[str, str] = {}
    for path in sorted((root / "pool/shards").glob("*.parquet")):
        table = pq.read_table(path, columns=["uid", "status"]).to_pydict()
        for uid, word in zip(table["uid"], table["status"], strict=True):
            assert uid not in status, f"{uid} is in two tables"
            status[uid] = word
    assert status.keys() == wanted.keys(), "rows are lost"
    got = {uid for uid, word in status.items() if word == "success"}
    assert got == {uid for uid, there in wanted.items() if there}, "a row has not the status that its URL gives"
    packed = [uid for path in sorted((root / "pool/shards").glob("*.tar")) for uid in uids_in(path)]
    assert len(packed) == len(got), "a tar lacks samples or has some twice"
    assert set(packed) == got
    print(f"list: {len(wanted):,} pairs, {len(got):,} obtained, 0 lost, 0 twice")
    for path in sorted((root / "run/subsets").glob("*.npy")):
        subset = to_hex(np.load(path))
        kept = [uid for tar in sorted((root / "run/shards" / path.stem).glob("*.tar")) for uid in uids_in(tar)]
        assert sorted(kept) == sorted(subset), f"the shards of {path.stem} are not its subset"
        assert set(subset) <= got
        assert len(set(subset)) == len(subset)
        print(f"subset {path.stem}: {len(subset):,} pairs, in shards 0 lost, 0 twice")
    left = [path for part in ("pool", "run") for path in (root / part / "_attempts").glob("*/*")]
    assert not left, f"half-written files are left: {left[:3]}"


def uids_in(path: Path) -> list[str]:
    """Return the uids in the sidecars of a tar, read by Python's tarfile."""
    with tarfile.open(path) as tar:
        found = [json.load(tar.extractfile(member))["uid"] for member in tar if member.name.endswith(".json")]  # type: ignore[arg-type]
    assert len(from_hex(found)) == len(found)
    return found


if __name__ == "__main__":
    main()
