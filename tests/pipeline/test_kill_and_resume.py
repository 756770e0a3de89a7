"""SIGKILL at any moment, then the same command again: the same subsets and shards, to the byte, as undisturbed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """
pool: pool
run_dir: run
seed: 3
source: {use: webnoise, num_samples: 45, num_trusted: 32, num_heldout: 9}
executor: {use: process, workers: 2}
ingest: {rows_per_file: 15}
download: {image_size: 128, timeout: 60, stall_timeout: 30, retries: 1}  # only a busy machine could reach these
score:
  scorers:
    caption_stats: {}
    image_stats: {}
select:
  strategies:
    no_filter: {}
    sharp: {use: clip_score, score: image_stats.sharpness, fraction: 0.5}
    half: {use: random_subset, fraction: 0.5}
reshard: {samples_per_shard: 20}
"""
NETWORK = f"""
filternet:
  networks:
    trusted:
      system: {{use: clip, model: "{ROOT}/configs/models/winnow-tiny.json"}}
      samples_seen: 48
      batch_size: 16
      checkpoint_every: 16
      snapshots: 2
"""
SCORER = f"""
    clip: {{model: "{ROOT}/configs/models/winnow-tiny.json", pretrained: "${{run_dir}}/filternet/trusted/model.pt"}}
"""
WITH_NETWORK = NETWORK + CONFIG.replace("  scorers:\n", "  scorers:" + SCORER)


def start(root: Path, config: str) -> subprocess.Popen[bytes]:
    """Start the run in its own process."""
    root.mkdir(exist_ok=True)
    (root / "config.yaml").write_text(config)
    with (root / "log.txt").open("ab") as log:
        command = [sys.executable, "-m", "pipeline", "run", "config.yaml"]
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT)})


def hashes(root: Path) -> dict[str, str]:
    """Return the hash of every file that has a final name: metadata, shards, columns, subsets, kept shards, weights."""
    found = {}
    for pattern in (
        "pool/metadata/*",
        "pool/shards/*.tar",
        "pool/shards/*.parquet",
        "pool/columns/*/*",
        "run/subsets/*",
    ):
        found |= {str(path.relative_to(root)): path for path in root.glob(pattern)}
    for pattern in ("run/shards/*/*", "run/filternet/**/*.pt"):
        found |= {str(path.relative_to(root)): path for path in root.glob(pattern)}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(found.items())}


def finished_products(root: Path) -> int:
    return len(list(root.glob("*/journal/*.json")))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("config", "times"), [(CONFIG, 2), pytest.param(WITH_NETWORK, 5, marks=pytest.mark.slow)], ids=["data", "all"]
)
def test_killed_runs_end_like_an_undisturbed_one(tmp_path: Path, config: str, times: int) -> None:
    calm = tmp_path / "calm"
    assert start(calm, config).wait() == 0, (calm / "log.txt").read_text()
    total = finished_products(calm)

    torn = tmp_path / "torn"
    chance = random.Random(5)
    targets = sorted(chance.sample(range(total // 3, total - 1), times))
    kills = 0
    for target in targets:
        process = start(torn, config)
        while process.poll() is None and finished_products(torn) < target:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.6))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 1, "the run must have been disturbed for this test to say anything"
    assert start(torn, config).wait() == 0, (torn / "log.txt").read_text()

    expected = hashes(calm)
    assert len(expected) > 20
    assert hashes(torn) == expected
    assert not list(torn.glob("*/_attempts/*")), "nothing half-written is left"
