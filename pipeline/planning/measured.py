"""What finished runs tell about costs: the journal's rows as observations, by stage, and what shares of a pool pass."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.config import RunConfig
from pipeline.engine.executors.inline import Inline
from pipeline.planning.cost import Observation
from winnow.filenames import file_name
from winnow.journal import Journal, Row

__all__ = ["FIXED", "READS_POOL", "Measured", "measure", "size_of", "workers_of"]

FIXED = ("filternet", "train", "eval", "bench", "report")
"""Stages whose work the config decides, whatever the size of the pool."""

READS_POOL = ("select", "reshard")
"""Stages whose workers read something of every sample of the pool once, before their first unit."""


@dataclass
class Measured:
    """The finished units of some runs; of what does not grow with the pool, those of the last run alone."""

    seconds: dict[str, list[Observation]] = field(default_factory=lambda: defaultdict(list))
    """Stage -> its units."""
    size: dict[str, list[Observation]] = field(default_factory=lambda: defaultdict(list))
    """The same in bytes."""
    extras: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """Stage -> rows that hold no samples, whatever the size of the pool."""
    keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Stage -> keys of the scorers that were run."""
    counts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    """Stage, "" for all of it or a product -> summed counts, as "samples" and "success" of the downloads."""

    def success(self) -> float | None:
        """Return the share of rows whose picture was obtained, None if nothing was downloaded."""
        counts = self.counts["download"]
        return counts["success"] / counts["samples"] if counts["samples"] else None

    def kept(self, subset: str) -> float | None:
        """Return the share of pairs that a subset keeps, copies counted, None if it was not selected."""
        counts = self.counts[f"select/{file_name(subset)}"]
        return counts["kept"] / counts["samples"] if counts["samples"] else None


def measure(configs: Iterable[RunConfig]) -> Measured:
    """Read the journals of runs that are finished, or some of whose stages are."""
    found = Measured()
    for config in configs:
        for name, stage in config.stages.items():
            journal = Journal(stage.store)
            rows = [row for prefix in stage.scope() for row in journal.under(prefix)]
            pool = _pool_samples(journal) if name in READS_POOL else 0
            _add(found, name, rows, workers_of(config, name), pool)
    return found


def workers_of(config: RunConfig, stage: str) -> int:
    """Return how many units of a stage are performed at a time."""
    executor = config.executor.for_stage(config.stages[stage])
    return 1 if isinstance(executor, Inline) else executor.workers


def _add(found: Measured, stage: str, rows: list[Row], workers: int, pool: int) -> None:
    """Take in the rows of a stage of one run."""
    units: dict[str, list[Row]] = defaultdict(list)
    found.extras[stage] = []
    if stage in FIXED and rows:
        found.seconds[stage], found.size[stage] = [], []
    for row in rows:
        units[_unit(stage, row.product)].append(row)
        if stage in ("score", "relate", "attach"):
            found.keys[stage].add(row.product.split("/")[1])
        for kind, count in row.counts.items():
            found.counts[stage][kind] += count
            found.counts[row.product][kind] += count
    number = 0
    for _, members in sorted(units.items()):
        if not any("samples" in row.counts for row in members):
            found.extras[stage] += members
            continue
        # products of one shard ("score/clip/00003", "score/ocr/00003") speak of the same samples
        shards: dict[str, int] = {}
        for row in members:
            shard = row.product.rpartition("/")[2]
            shards[shard] = max(shards.get(shard, 0), row.counts.get("samples", 0))
        samples, first = sum(shards.values()), number < workers
        found.seconds[stage].append(Observation(samples, sum(row.seconds for row in members), first, pool))
        found.size[stage].append(Observation(samples, sum(size_of(row) for row in members)))
        number += 1


def _unit(stage: str, product: str) -> str:
    """Return the unit that a product belongs to: its seconds are shared out evenly among the unit's products."""
    if stage in ("score", "attach"):
        return product.rpartition("/")[2]
    return product.split("/")[1] if stage == "relate" else product


def size_of(row: Row) -> int:
    """Return the bytes of a product's files."""
    return sum(size for size, _ in row.files.values())


def _pool_samples(journal: Journal) -> int:
    """Return how many samples `select` saw."""
    return max((row.counts["samples"] for row in journal.under("select/")), default=0)
