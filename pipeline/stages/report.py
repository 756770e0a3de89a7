"""Write report.html, results.jsonl and recovered.npy of a run from its files alone."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field

from filters.subset import write_subset
from pipeline.pools.recovery import Recovery, recover
from pipeline.source import Source
from pipeline.stage import Product, Stage, Unit
from winnow.component import build, digest
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.storage import Store

__all__ = ["Report"]

PACKAGES = ("winnow", "torch", "open_clip_torch", "timm", "numpy", "pyarrow", "ray", "pillow", "rapidocr", "easyocr")


class Report(Stage):
    """One unit that reads pool and run. What is not there yet leaves its section out."""

    name: ClassVar[str] = "report"
    parallel: ClassVar[bool] = False

    source: dict[str, Any] = Field(default={})
    """The pool's source, for its attribution."""
    config_path: str = "CONFIG"
    """The config file, as the page's commands name it."""
    pairs: int = Field(default=6, ge=0)
    """Pairs in each gallery."""
    good: tuple[str, ...] = ("visual", "visual_random_text", "visual_and_text")
    """Categories of truth.parquet whose picture shows what the caption says."""

    @classmethod
    def tiny(cls) -> "Report":
        """Return an instance for an empty pool."""
        return cls(pool="pool", run_dir="run")

    def scope(self) -> tuple[str, ...]:
        """Return its only product."""
        return ("report",)

    def plan(self) -> list[Unit]:
        """Return the one unit; it is stale as soon as any other product of pool or run changes."""
        inputs = [
            (row.product, row.fingerprint())
            for journal in (self.upstream(), Journal(self.store))
            for row in journal.under("")
            if row.product != "report"
        ]
        fields = [self.source, self.config_path, self.pairs, self.good]
        key = digest(inputs, fields, self._config_text, self._versions())
        return [Unit(name="report", products={"report": key})]

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Gather, render, write."""
        from eval.report.data import PoolIdentity
        from eval.report.page import render
        from eval.report.run import result_lines

        recovery = self._recovery()
        data = self._gather()
        if recovery is not None:
            data.pool = PoolIdentity(recovery.fingerprint, recovery.obtained, recovery.asked)
        (attempt / "report.html").write_text(render(data), encoding="utf-8")
        files = {"report.html": attempt / "report.html"}
        lines = result_lines(self.store)
        if lines:
            (attempt / "results.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            files["results.jsonl"] = attempt / "results.jsonl"
        if recovery is not None:
            (attempt / "recovered.npy").write_bytes(write_subset(recovery.uids))
            files["recovered.npy"] = attempt / "recovered.npy"
        return {"report": Product(files=files, counts={"results": len(lines)})}

    def _recovery(self) -> Recovery | None:
        """Return what was obtained of the pool, None where there is no pool that could be read."""
        try:
            return recover(Store(self.pool))
        except (UserError, OSError, ValueError):
            return None  # what is wrong with a table stands among the page's notes

    def _gather(self) -> Any:
        """Read pool and run into plain data."""
        from eval.report import pool as pool_part
        from eval.report import run as run_part
        from eval.report.data import ReportData

        pool, run = Store(self.pool), self.store
        facts = pool_part.read_pool(pool, run)
        data = ReportData(
            title=str(self._config.get("title") or Path(run.root).name),
            command=f"winnow report {self.config_path}",
            good=self.good,
            config=self._config_text,
            versions=self._versions(),
            attribution=self._attribution(),
            notes=facts.notes,
        )
        data.stages = pool_part.stages(pool, facts)
        data.strategies = pool_part.strategies(facts)
        data.histograms = pool_part.histograms(facts)
        data.truth = pool_part.truth(facts, self.good) if data.strategies else []
        data.overlap = pool_part.jaccard(facts, [row.name for row in data.strategies]) if data.strategies else None
        data.galleries = pool_part.galleries(pool, facts, self.pairs, self._mask) if self.pairs else []
        data.results = run_part.read_results(run, data.notes)
        data.comparisons = run_part.compare(run, data)
        data.curves = run_part.curves(run, data.notes)
        data.grids = run_part.grids(run, data)
        return data

    def _attribution(self) -> str:
        """Say whose pictures the page shows."""
        if not self.source:
            return ""
        source: Source = build("pipeline.sources", self.source, "source")
        return source.attribution()

    def _mask(self, image: NDArray[np.uint8], polygons: list[NDArray[np.float32]]) -> NDArray[np.uint8]:
        """Paint over text as the config's masked_clip scorer did."""
        from filters.text.masking import mask_polygons

        scorers = (self._config.get("score") or {}).get("scorers") or {}
        fields = next((dict(s or {}) for k, s in scorers.items() if (s or {}).get("use", k) == "masked_clip"), {})
        known = {name: fields[name] for name in ("fill", "dilation", "ring_width", "constant") if name in fields}
        return mask_polygons(image, polygons, **known)

    @property
    def _config_text(self) -> str:
        """The resolved config, "" where the run has none."""
        return self.store.read("config.yaml").decode("utf-8") if self.store.exists("config.yaml") else ""

    @property
    def _config(self) -> dict[str, Any]:
        """The resolved config as a mapping."""
        config = yaml.safe_load(self._config_text)
        return config if isinstance(config, dict) else {}

    @staticmethod
    def _versions() -> dict[str, str]:
        """Return the versions of the packages whose code made the numbers."""
        found = {}
        for package in PACKAGES:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
        return found
