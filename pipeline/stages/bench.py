"""Compare the strategies of a run: what each kept, what its models learnt, which differences are real."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import Field

from pipeline.config import control_of
from pipeline.pools.recovery import recover
from pipeline.stage import Product, Stage, Unit
from winnow.component import digest
from winnow.errors import UserError, unknown
from winnow.filenames import name_of
from winnow.journal import Journal
from winnow.storage import Store

__all__ = ["Bench"]

QUESTION = ("tmars", "clip_score")
"""Does masking text help? Asked where both strategies are configured and `compare` is not given."""


class Bench(Stage):
    """Write RUN/bench/filters.json, .md and .html. What is not there yet leaves its tables out."""

    name: ClassVar[str] = "bench"
    parallel: ClassVar[bool] = False

    controls: bool = True
    """Add to every strategy a random subset of its size, trained with the same seeds and samples seen."""
    compare: list[tuple[str, str]] | None = None
    """Pairs of strategies to put against each other directly."""
    good: tuple[str, ...] = ("visual", "visual_random_text", "visual_and_text")
    """Categories of truth.parquet whose picture shows what the caption says."""
    draws: int = Field(default=10_000, ge=100)
    """Resamples of every bootstrap."""
    only_truth: bool = False
    """Leave models out: what was kept, and nothing else."""
    config_path: str = "CONFIG"
    """The config file, as the page names it."""

    @classmethod
    def tiny(cls) -> "Bench":
        """Return an instance for an empty pool."""
        return cls(pool="pool", run_dir="run")

    def plan(self) -> list[Unit]:
        """Return the one unit.

        Raises:
            UserError: no strategy has judged the pool, or `compare` names one that is none.
        """
        strategies, run = self._strategies(), Journal(self.store)
        for name in (name for pair in self._pairs(strategies) for name in pair):
            if name not in strategies:
                raise unknown("strategy in `bench.compare`", name, strategies)
        prefixes = ["select/"] if self.only_truth else ["select/", "eval/"]
        rows = [row for prefix in prefixes for row in run.under(prefix)]
        rows += [row for prefix in ("download/", "ingest/") for row in self.upstream().under(prefix)]
        inputs = [(row.product, row.fingerprint()) for row in rows]
        fields = [self.controls, self.compare, self.good, self.draws, self.only_truth, self.config_path]
        key = digest(inputs, fields, self._config_text)
        return [Unit(name="filters", products={"bench/filters": key})]

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Gather, compare, write."""
        from eval.bench.data import as_json
        from eval.bench.markdown import render_markdown
        from eval.bench.page import render_page

        bench = self._gather()
        text = json.dumps(as_json(bench), indent=1, allow_nan=False, ensure_ascii=False)
        content = {"json": text + "\n", "md": render_markdown(bench), "html": render_page(bench)}
        files = {}
        for suffix, words in content.items():
            path = attempt / f"filters.{suffix}"
            path.write_text(words, encoding="utf-8")
            files[f"bench/{path.name}"] = path
        counts = {"strategies": len(bench.truth.strategies) if bench.truth else 0, "tables": len(bench.tables)}
        return {"bench/filters": Product(files=files, counts=counts)}

    def _gather(self) -> Any:
        """Read pool and run, and compare."""
        from eval.bench.compare import compare_pair, make_table
        from eval.bench.data import Answer
        from eval.bench.data import Bench as Found
        from eval.bench.outcomes import read_outcomes
        from eval.bench.pool import read_kept, read_pairs
        from eval.bench.words import limits, statements

        strategies, pool = self._strategies(), Store(self.pool)
        recovery = recover(pool)
        found = Found(
            title=str(self._config.get("title") or Path(self.store.root).name),
            command=f"winnow bench filters {self.config_path}" + (" --only-truth" if self.only_truth else ""),
            recovery={
                "asked": recovery.asked, "obtained": recovery.obtained, "fingerprint": recovery.fingerprint
            },
            draws=self.draws,
            controls={name: control_of(name) for name in strategies if control_of(name) in strategies},
            config=self._config_text,
        )  # fmt: skip
        uids, kept = read_kept(pool, self.store, strategies)
        pairs = read_pairs(pool, uids, self.good)
        if pairs is not None:
            found.truth = pairs.truth(kept, self.draws, self.seed)
        outcomes = [] if self.only_truth else read_outcomes(self.store, found.notes)
        found.tables = [make_table(item, found.controls, self.draws, self.seed) for item in outcomes]
        for first, second in self._pairs(strategies):
            difference = pairs.difference(kept[first], kept[second], self.draws, self.seed) if pairs else {}
            models = [
                (table, comparison)
                for item, table in zip(outcomes, found.tables, strict=True)
                if (comparison := compare_pair(item, first, second, self.draws, self.seed)) is not None
            ]
            found.answers.append(Answer(first, second, difference, models))
        found.statements = statements(found)
        found.notes += limits(found)
        return found

    def _strategies(self) -> list[str]:
        """Return the strategies that have judged the pool.

        Raises:
            UserError: there are none.
        """
        names = [name_of(row.product.removeprefix("select/")) for row in Journal(self.store).under("select/")]
        if not names:
            raise UserError(f"no subsets in {self.run_dir!r}; run `winnow select` first")
        return names

    def _pairs(self, strategies: list[str]) -> list[tuple[str, str]]:
        """Return the direct questions."""
        if self.compare is not None:
            return self.compare
        return [QUESTION] if all(name in strategies for name in QUESTION) else []

    @property
    def _config_text(self) -> str:
        """The resolved config, "" where the run has none."""
        return self.store.read("config.yaml").decode("utf-8") if self.store.exists("config.yaml") else ""

    @property
    def _config(self) -> dict[str, Any]:
        """The resolved config as a mapping."""
        config = yaml.safe_load(self._config_text)
        return config if isinstance(config, dict) else {}
