"""The data stages with units that last, so that something can happen to their workers meanwhile."""

import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.stage import Product, Stage, Unit
from pipeline.stages.download import Download
from pipeline.stages.reshard import Reshard
from pipeline.stages.score import Score

__all__ = ["SLOW"]

SECONDS = 2.0


class SlowDownload(Download):
    """Download, then wait."""

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Leave finished files in the attempt folder for a while."""
        made = super().run(unit, attempt)
        time.sleep(SECONDS)
        return made


class SlowScore(Score):
    """Score, then wait."""

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Leave finished files in the attempt folder for a while."""
        made = super().run(unit, attempt)
        time.sleep(SECONDS)
        return made


class SlowReshard(Reshard):
    """Reshard, then wait."""

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Leave finished files in the attempt folder for a while."""
        made = super().run(unit, attempt)
        time.sleep(SECONDS)
        return made


SLOW: dict[str, type[Stage]] = {"download": SlowDownload, "score": SlowScore, "reshard": SlowReshard}
