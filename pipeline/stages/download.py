"""Download every metadata file's pictures into one shard of img2dataset's layout."""

import hashlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from pipeline.download.exif import exif_json
from pipeline.download.fetch import Fetched, Fetcher
from pipeline.download.resize import Resizer
from pipeline.download.shard import OWN, Outcome, write_shard
from pipeline.source import Source
from pipeline.stage import Product, Stage, Unit
from winnow.component import build, digest
from winnow.errors import UserError
from winnow.images import ImageError

__all__ = ["Download"]

BACKLOG = 64  # bodies waiting to be decoded before no further transfer starts: bounds the memory
REPLACED = ("original_width", "original_height", "sha256")  # published values give way to what was downloaded


class Download(Stage):
    """Fetch, decode, resize and pack. Fields that img2dataset has too carry its names."""

    name: ClassVar[str] = "download"
    home: ClassVar[str] = "pool"

    source: dict[str, Any] = Field(default_factory=lambda: {"use": "webnoise"})
    """The source whose web the URLs point to; for real URLs it only has to be one that serves nothing."""
    direct: bool = False
    """Let a synthetic source draw its pictures in the workers, without its web and what goes wrong there."""
    image_size: int = Field(default=256, ge=1)
    resize_mode: Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"] = "keep_ratio_largest"
    resize_only_if_bigger: bool = True
    upscale_interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    downscale_interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    encode_format: Literal["jpg", "png", "webp"] = "jpg"
    encode_quality: int | None = Field(default=None, ge=0, le=100)
    """Quality of jpg and webp (95), compression level 0 to 9 of png (6)."""
    skip_reencode: bool = False
    """Keep the original bytes of a picture that already fits."""
    min_image_size: int = Field(default=0, ge=0)
    """Refuse pictures with a shorter side below this, in pixels."""
    max_image_area: int = Field(default=64_000_000, ge=1)
    """Refuse pictures with more pixels, by their header, before decoding."""
    max_aspect_ratio: float = Field(default=math.inf, ge=1.0)
    extract_exif: bool = True
    """Keep EXIF tags, never the position."""
    verify_hash: bool = False
    """Refuse a file whose sha256 differs from the metadata's, where that has one."""
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    """X-Robots-Tag directives to obey; [] obeys none."""
    user_agent_token: str | None = "winnow"
    """Name by which an X-Robots-Tag may speak to this program alone."""
    user_agent: str = "winnow (builds image-text datasets; obeys X-Robots-Tag)"
    thread_count: int = Field(default=64, ge=1)
    """Connections of one worker; wanted pictures per second times the servers' latency is a good number."""
    decode_threads: int = Field(default=2, ge=1)
    timeout: float = Field(default=10.0, gt=0)
    """Seconds an attempt may take altogether."""
    stall_timeout: float = Field(default=3.0, gt=0)
    """Seconds without a byte after which a body that had begun is given up, and not tried again."""
    retries: int = Field(default=2, ge=0)
    """Further attempts after timeouts, broken connections, 429 and 5xx."""
    max_bytes: int = Field(default=20_000_000, ge=1)
    """Largest body in bytes, claimed or streamed."""
    allow_private: bool = False
    """Let URLs lead to loopback, private and link-local addresses."""
    connect_to: str | None = None
    """"address:port" of all connections; set by the stage itself while the source serves its own web."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse a png compression level above 9, and pictures without the web from a source that has none."""
        if self.encode_format == "png" and (self.encode_quality or 0) > 9:
            raise ValueError("encode_quality of png is its compression level, 0 to 9")
        if self.direct and not self._source.draws:
            raise ValueError("direct needs a source that draws its pictures, such as webnoise; leave it out")
        return self

    def plan(self) -> list[Unit]:
        """Return one unit per metadata file.

        Raises:
            UserError: the pool has no metadata.
        """
        row = self.upstream().rows.get("ingest/metadata")
        names = [name for name in self.store.list("metadata", ".parquet") if _shard(name).isdigit()]
        if row is not None:  # files of an earlier, longer ingest do not count
            names = [name for name in names if name in row.files]
        if not names:
            raise UserError(f"no metadata in the pool {self.pool!r}; `winnow ingest` makes it")
        units = []
        for name in names:
            state = row.files[name][1] if row is not None else str(self.store.size(name))
            product = f"download/{_shard(name)}"
            spec = {"metadata": name, "shard": _shard(name)}
            units.append(Unit(name=_shard(name), products={product: self._key(state)}, spec=spec))
        return units

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Hold up the source's own web, if it has one and it is wanted."""
        if self.direct:
            yield self
            return
        with self._source.serve() as address:
            yield self if address is None else self.model_copy(update={"connect_to": address})

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Make NNNNN.tar, NNNNN.parquet and NNNNN_stats.json."""
        shard = str(unit.spec["shard"])
        with self.store.open(str(unit.spec["metadata"])) as file:
            metadata = pq.read_table(file)
        rows = _carried(metadata)
        expected = metadata["sha256"].to_pylist() if self.verify_hash and "sha256" in metadata.column_names else None
        with tempfile.TemporaryFile(dir=attempt) as spool:
            outcomes = self._fetch_all(metadata["url"].to_pylist(), expected, spool)
            counts = write_shard(
                attempt, shard, rows, outcomes, spool, _samples_per_shard(metadata), self.encode_format
            )
        files = {f"shards/{shard}{end}": attempt / f"{shard}{end}" for end in (".tar", ".parquet", "_stats.json")}
        return {next(iter(unit.products)): Product(files=files, counts=counts)}

    def _fetch_all(self, urls: list[str], expected: list[str | None] | None, spool: IO[bytes]) -> list[Outcome]:
        """Return the outcome of every URL; pictures go to `spool` as they come, to be packed in order afterwards."""
        outcomes: list[Outcome | None] = [None] * len(urls)
        waiting: dict[int, Future[None]] = {}
        writing = threading.Lock()
        convert = self._resizer()

        def finish(index: int, body: bytes) -> None:
            outcome, data = self._convert(convert, body, expected[index] if expected else None)
            if data is not None:
                with writing:
                    offset = spool.seek(0, os.SEEK_END)
                    spool.write(data)
                outcome = replace(outcome, place=(offset, len(data)))
            outcomes[index] = outcome

        def done(index: int, fetched: Fetched) -> None:
            if fetched.body is None:
                outcomes[index] = Outcome("failed_to_download", fetched.error)
            else:
                waiting[index] = decoders.submit(finish, index, fetched.body)

        def ready() -> bool:
            for index in [index for index, future in waiting.items() if future.done()]:
                waiting.pop(index).result()
            return len(waiting) < BACKLOG

        with ThreadPoolExecutor(self.decode_threads) as decoders:
            if self.direct:
                self._draw(urls, done, ready)
            else:
                self._fetcher().fetch(urls, done, ready)
            for future in waiting.values():
                future.result()
        assert all(outcomes), "a URL ended without an outcome"
        return [outcome for outcome in outcomes if outcome is not None]

    def _draw(self, urls: list[str], done: Callable[[int, Fetched], None], ready: Callable[[], bool]) -> None:
        """Let the source draw what a fetcher would fetch."""
        for index, url in enumerate(urls):
            while not ready():
                time.sleep(0.001)
            done(index, Fetched(self._source.body(url)))

    @cached_property
    def _source(self) -> Source:
        """The source of the URLs."""
        source: Source = build("pipeline.sources", self.source, "source", "source")
        return source

    def _convert(self, resize: Resizer, body: bytes, expected: str | None) -> tuple[Outcome, bytes | None]:
        """Turn a body into an outcome and the encoded picture."""
        sha256 = hashlib.sha256(body).hexdigest()
        if expected and expected != sha256:
            return Outcome("failed_to_download", "hash mismatch", sha256=sha256), None
        try:
            made = resize(body)
        except ImageError as error:
            return Outcome("failed_to_resize", str(error), sha256=sha256), None
        outcome = Outcome(
            "success",
            width=made.width,
            height=made.height,
            original_width=made.original_width,
            original_height=made.original_height,
            exif=exif_json(body) if self.extract_exif else None,
            sha256=sha256,
        )
        return outcome, made.data

    def _resizer(self) -> Resizer:
        """Return the resizer of these fields."""
        default = 6 if self.encode_format == "png" else 95
        quality = default if self.encode_quality is None else self.encode_quality
        fields = {name: getattr(self, name) for name in Resizer.__dataclass_fields__ if name != "encode_quality"}
        return Resizer(**fields, encode_quality=quality)

    def _fetcher(self) -> Fetcher:
        """Return the fetcher of these fields."""
        return Fetcher(
            connections=self.thread_count,
            timeout=self.timeout,
            stall_timeout=self.stall_timeout,
            connect_timeout=min(5.0, self.timeout),
            retries=self.retries,
            max_bytes=self.max_bytes,
            user_agent=self.user_agent,
            user_agent_token=self.user_agent_token,
            disallowed_header_directives=self.disallowed_header_directives,
            allow_private=self.allow_private,
            connect_to=self.connect_to,
        )

    def _key(self, state: str) -> str:
        """Hash what decides a shard's bytes; how patiently the web was asked is not part of it."""
        resizer = vars(self._resizer())
        return digest(
            "download",
            state,
            resizer,
            self.extract_exif,
            self.verify_hash,
            self.disallowed_header_directives,
            self.max_bytes,
            *(["direct"] if self.direct else []),
        )


def _shard(name: str) -> str:
    """Return the number that a metadata file and its shard share, "00003"."""
    return name.rpartition("/")[2].removesuffix(".parquet")


def _samples_per_shard(metadata: pa.Table) -> int:
    """Return how many rows a full metadata file has, which decides the digits of the keys."""
    noted = (metadata.schema.metadata or {}).get(b"rows_per_file")
    return int(noted) if noted else max(1, metadata.num_rows)


def _carried(metadata: pa.Table) -> pa.Table:
    """Return url, caption and the columns to carry along, without those the download fills itself."""
    names = ["url", "text", *(name for name in metadata.column_names if name not in ("url", "text", *REPLACED))]
    table = metadata.select(names).rename_columns(["caption" if name == "text" else name for name in names])
    if clash := set(names) & set(OWN):
        raise UserError(f"metadata column {min(clash)!r} has a name that the download uses itself; rename it")
    return table
