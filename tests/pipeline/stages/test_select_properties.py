"""What is selected is a matter of the samples alone: not of shards, chunks, workers, batches or failures before."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_pool import write_pool

from filters.strategy import Columns, Strategy, Verdict
from filters.subset import read_subset
from pipeline.config import RunConfig
from pipeline.engine.perform import perform
from pipeline.pools.columns import PoolColumns
from pipeline.runner import run_stage as run_with_executor
from pipeline.stages import select as module
from pipeline.stages.score import Score
from pipeline.stages.select import Select
from winnow.journal import Journal
from winnow.storage import Store
from winnow.uid import to_hex
from winnow.verdicts import read_verdicts

NUM_SAMPLES = 60
COLUMNS: dict[str, Callable[[int], Any]] = {
    # few values, so that many tie at every cut; some missing
    "clip.similarity": lambda n: math.nan if n % 10 == 9 else (n * 7 % 11) / 40,
    "masked_clip.similarity": lambda n: (n * 7 % 11) / 40 - (n % 2) / 10,
    "language.language": lambda n: "de" if n % 4 == 0 else "en",
    "target_clusters.hit": lambda n: float(n % 3 > 0),
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "no_filter": {},
    "basic": {"min_side": 200},
    "clip_score": {"fraction": 0.3},
    "datacomps": {"use": "clip_score", "fraction": 0.3, "compat": True},
    "tmars": {"fraction": 0.5},
    "random": {"use": "random_subset", "same_size_as": "tmars", "seed": 3},
    "together": {"use": "all_of", "of": ["basic", {"use": "clip_score", "fraction": 0.6}, "image_based"]},
    "in_turn": {"use": "sequence", "of": ["image_based", {"use": "clip_score", "fraction": 0.4}]},
    "best_of": {"use": "top_fraction", "of": "basic", "fraction": 0.5},
    "image_based": {"min_words": 1},
    "rest": {"use": "invert", "of": "together"},
}


def stage(root: Path, strategies: Mapping[str, Any] = STRATEGIES) -> Select:
    return Select(pool=str(root / "pool"), run_dir=str(root / "run"), strategies=dict(strategies))


def subsets(root: Path) -> dict[str, bytes]:
    return {name: (root / f"run/subsets/{name}.npy").read_bytes() for name in STRATEGIES}


def verdicts(root: Path) -> dict[str, dict[str, tuple[int, str]]]:
    """Return strategy -> uid -> count and reason."""
    found = {}
    for name in STRATEGIES:
        judged = read_verdicts(Store(root / "run"), name, ["reason"])
        uids, table = to_hex(judged.uids(Store(root / "pool"))), judged.rows.to_pydict()
        found[name] = dict(zip(uids, zip(table["count"], table["reason"], strict=True), strict=True))
    return found


def arranged(root: Path, make_pool: Any, order: Sequence[int], sizes: Sequence[int]) -> Path:
    """Write a pool that holds the samples in another order, cut into shards of these sizes."""
    columns = {name: lambda n, rule=rule: rule(order[n]) for name, rule in COLUMNS.items()}
    make_pool(root / "pool", sizes, columns=columns, number_of=lambda n: order[n])
    return root


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, make_pool: Any, run_stage: Any) -> Path:
    """A pool in one shard, judged as a whole."""
    root = arranged(tmp_path_factory.mktemp("expected"), make_pool, range(NUM_SAMPLES), (NUM_SAMPLES,))
    assert run_stage(stage(root)) == list(STRATEGIES)
    sizes = {name: len(read_subset(data)) for name, data in subsets(root).items()}
    assert all(0 < size < NUM_SAMPLES for name, size in sizes.items() if name != "no_filter"), sizes
    assert sizes["clip_score"] == 18 < sizes["datacomps"]
    return root


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_samples_the_cut_into_shards_and_the_size_of_chunks_do_not_matter(
    tmp_path: Path, make_pool: Any, run_stage: Any, expected: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, NUM_SAMPLES + 1, rng.integers(0, 7)))
    sizes = np.diff([0, *cuts, NUM_SAMPLES]).tolist()
    monkeypatch.setattr(module, "PoolColumns", partial(PoolColumns, chunk_rows=int(rng.integers(1, 30))))
    root = arranged(tmp_path / "other", make_pool, rng.permutation(NUM_SAMPLES).tolist(), sizes)
    run_stage(stage(root))
    assert subsets(root) == subsets(expected)
    assert verdicts(root) == verdicts(expected)


def test_equal_samples_may_repeat_anywhere(tmp_path: Path, make_pool: Any, run_stage: Any, expected: Path) -> None:
    order = [*range(NUM_SAMPLES), 3, 59, 3]
    rng = np.random.default_rng(0)
    root = arranged(tmp_path / "other", make_pool, rng.permutation(order).tolist(), (20, 0, 30, 13))
    run_stage(stage(root))
    assert subsets(root) == subsets(expected)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_number_of_workers_does_not_matter(tmp_path: Path, make_pool: Any, expected: Path, workers: int) -> None:
    root = arranged(tmp_path / "other", make_pool, range(NUM_SAMPLES), (25, 25, 10))
    config = {
        "pool": str(root / "pool"),
        "run_dir": str(root / "run"),
        "executor": {"use": "process", "workers": workers},
        "select": {"strategies": STRATEGIES},
    }
    (root / "config.yaml").write_text(json.dumps(config))
    summary = run_with_executor(RunConfig(root / "config.yaml"), "select")
    assert (summary.done, summary.quarantined) == (len(STRATEGIES), {})
    assert subsets(root) == subsets(expected)
    assert verdicts(root) == verdicts(expected)


def test_the_batches_of_scoring_do_not_matter(tmp_path: Path, run_stage: Any) -> None:
    """From pictures to subsets, with scorers whose columns are exact."""
    found = []
    for number, batch_size in enumerate((1, 4, 100)):
        root = tmp_path / str(number)
        write_pool(root / "pool", num_shards=3, samples_per_shard=8)
        scorers = {"caption_stats": {}, "image_stats": {}, "phash": {}}
        run_stage(Score(pool=str(root / "pool"), run_dir=str(root / "run"), scorers=scorers, batch_size=batch_size))
        strategies = {
            "sharp": {"use": "clip_score", "score": "image_stats.sharpness", "fraction": 0.4},
            "long": {"use": "clip_score", "score": "caption_stats.num_chars", "fraction": 0.6},
        }
        run_stage(stage(root, strategies))
        found.append({name: (root / f"run/subsets/{name}.npy").read_bytes() for name in strategies})
    assert found[0] == found[1] == found[2]
    assert [len(read_subset(data)) for data in found[0].values()] == [8, 12]


class Failing(Strategy):
    """Drops nothing, and fails while its trap exists, at the last of the samples."""

    trap: Path
    uid: str

    def judge(self, columns: Columns) -> Verdict:
        if self.trap.exists() and self.uid in to_hex(columns.uids):
            raise MemoryError("the machine went down")
        return Verdict.of_rules(columns.num_samples, {})


def test_a_run_that_fails_half_way_ends_in_the_same_bytes(
    tmp_path: Path, make_pool: Any, run_stage: Any, expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = arranged(tmp_path / "other", make_pool, range(NUM_SAMPLES), (20, 20, 20))
    last = next(reversed(verdicts(expected)["no_filter"]))
    monkeypatch.setattr(module, "PoolColumns", partial(PoolColumns, chunk_rows=7))
    trap = tmp_path / "trap"
    trap.touch()
    names = list(STRATEGIES)
    strategies = {name: STRATEGIES[name] for name in names[:3]}
    strategies["failing"] = {"use": f"{__name__}:Failing", "trap": str(trap), "uid": last}
    strategies |= {name: STRATEGIES[name] for name in names[3:]}
    select = stage(root, strategies)
    units, journal = select.plan(), Journal(select.store)
    for unit in units[:3]:
        for row in perform(select, unit).rows:
            journal.append(row)
    assert "the machine went down" in perform(select, units[3]).error
    left = sorted(path.name for path in (root / "run").rglob("*") if path.is_file() and path.suffix != ".json")
    assert left == sorted(f"{name}{end}" for name in names[:3] for end in (".npy", ".parquet")), "nothing half-written"
    trap.unlink()
    assert run_stage(stage(root, strategies)) == ["failing", *names[3:]]
    assert subsets(root) == subsets(expected)
    assert (root / "run/subsets/failing.npy").read_bytes() == subsets(expected)["no_filter"]
    assert verdicts(root) == verdicts(expected)
    assert set(Journal(Store(root / "run")).rows) == {f"select/{name}" for name in strategies}
