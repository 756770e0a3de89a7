"""A pool whose truth is known: pictures of any set, captions of known quality and known noise, on a web of its own.

Source: category shares of Maini et al. 2023 (T-MARS, arXiv 2307.03132).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar, Self

import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.source import Source
from pipeline.webnoise.draw import render
from pipeline.webnoise.evaluation import write_heldout
from pipeline.webnoise.extras import write_trusted, write_truth
from pipeline.webnoise.sample import number_of, sample_at
from pipeline.webnoise.server import serve_world
from pipeline.webnoise.world import World
from winnow.component import digest
from winnow.errors import UserError

__all__ = ["WebNoise"]


class WebNoise(World, Source):
    """Draw a pool of any size; sample i is the same whatever the size."""

    provides: ClassVar[tuple[str, ...]] = ("truth", "trusted", "heldout")
    draws: ClassVar[bool] = True

    num_samples: int = Field(default=4000, ge=1, lt=10**9)
    """Pairs in the pool."""
    num_trusted: int = Field(default=2000, ge=1)
    """Verified pairs for a filter network."""
    trusted_text_share: float = Field(default=0.4, ge=0.0, le=1.0)
    """Share of the verified pairs whose picture also shows words of the caption, so that a scorer learns to read."""
    trusted_text_only_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share whose picture shows words of the caption and something else, as on the web: nothing but reading helps."""

    @model_validator(mode="after")
    def _check_text_shares(self) -> Self:
        """Refuse shares of more than all pairs."""
        if self.trusted_text_share + self.trusted_text_only_share > 1:
            raise ValueError("trusted_text_share and trusted_text_only_share sum to more than 1")
        return self

    @classmethod
    def tiny(cls) -> "WebNoise":
        """Return a pool of a dozen samples."""
        return cls(num_samples=12, num_trusted=4, num_heldout=9)

    def fingerprint(self) -> str:
        """Return a hash of the fields, of the picture set's files and of the packages that draw."""
        states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.picture_set.files()]
        packages = ("matplotlib", "pillow", *self.picture_set.packages)
        return digest(self, self.album, states, [_version(name) for name in packages])

    def attribution(self) -> str:
        """Name the pictures' makers."""
        return self.picture_set.attribution

    def tables(self) -> Iterator[pa.Table]:
        """Yield url and text of every pair; all else is for the pipeline to find out."""
        for start in range(0, self.num_samples, 1000):
            samples = [sample_at(self, index) for index in range(start, min(start + 1000, self.num_samples))]
            yield pa.table({"url": [s.url for s in samples], "text": [s.text for s in samples]})

    def extras(self, kind: str, attempt: Path) -> Mapping[str, Path]:
        """Make truth.parquet, trusted/ or heldout/."""
        if kind == "trusted":
            return write_trusted(self, attempt, self.num_trusted, self.trusted_text_share, self.trusted_text_only_share)
        if kind == "heldout":
            return write_heldout(self, attempt)
        return write_truth(self, attempt, self.num_samples)

    def body(self, url: str) -> bytes:
        """Draw and encode the picture of one of the pool's URLs."""
        number = number_of(self, "/" + url.split("/", 3)[3])
        if number is None:
            raise UserError(f"{url!r} is no URL of this pool; run `winnow ingest` again after a change of the source")
        return render(sample_at(self, number).scene, self.picture_set)

    @contextmanager
    def serve(self) -> Iterator[str | None]:
        """Hold up the web that the URLs point to."""
        with serve_world(self.world()) as address:
            yield address


def _version(name: str) -> str:
    """Return the version of an installed package, "" where it is missing (drawing will say so)."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
