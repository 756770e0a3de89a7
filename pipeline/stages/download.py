"""Download every metadata file's pictures into one shard of img2dataset's layout."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, Self

import pyarrow.parquet as pq
from pydantic import Field, field_validator, model_validator

from pipeline.download.addresses import AddressGuard
from pipeline.download.collect import Done, collect
from pipeline.download.convert import Converter, Row
from pipeline.download.decode import blank
from pipeline.download.fetch import Fetched, Fetcher
from pipeline.download.layout import Layout, Shard, layout_of, sources_of
from pipeline.download.resize import Resizer
from pipeline.download.rows import carried, rows_of, samples_per_shard
from pipeline.download.shard import Outcome, write_shard
from pipeline.source import Source
from pipeline.stage import Product, Stage, Unit
from winnow.component import build, digest
from winnow.errors import UserError

__all__ = ["Download"]

Trait = Literal["animation", "alpha", "cmyk", "16-bit", "orientation"]
IMPOSSIBLE = frozenset(
    (
        *("robots", "allow_private", "ca_file", "max_per_host", "requests_per_second_per_host", "max_retry_after"),
        *("max_bytes", "max_redirects", "stall_timeout", "direct", "refuse", "record_conversions", "verify_hash"),
        *("blur_faces", "fast_decode", "upscale_interpolation", "downscale_interpolation"),
    )
)
"""Fields that the engine img2dataset has no use for: it resizes by area, guards and asks nothing."""


class Download(Stage):
    """Fetch, decode, resize and pack. Fields that img2dataset has too carry its names."""

    name: ClassVar[str] = "download"
    home: ClassVar[str] = "pool"
    reproducible: ClassVar[bool] = False

    source: dict[str, Any] = Field(default_factory=lambda: {"use": "webnoise"})
    """The source whose web the URLs point to; for real URLs it only has to be one that serves nothing."""
    direct: bool = False
    """Let a synthetic source draw its pictures in the workers, without its web and what goes wrong there."""
    engine: Literal["winnow", "img2dataset"] = "winnow"
    """Who downloads; the package img2dataset guards no address and follows no robots.txt."""
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
    fast_decode: bool = True
    """Decode a JPEG at a half, quarter or eighth of its size where that leaves half as much again as is wanted."""
    min_image_size: int = Field(default=0, ge=0)
    """Refuse pictures with a shorter side below this, in pixels."""
    max_image_area: int = Field(default=64_000_000, ge=1)
    """Refuse pictures with more pixels, by their header, before decoding."""
    max_aspect_ratio: float = Field(default=math.inf, ge=1.0)
    refuse: tuple[Trait, ...] = ()
    """Refuse pictures with these traits instead of converting them."""
    record_conversions: bool = False
    """Add a column `converted` that says which traits a picture had."""
    extract_exif: bool = True
    """Keep EXIF tags, never the position."""
    verify_hash: Literal["off", "report", "drop_changed"] = "off"
    """Compare with the metadata's sha256 or md5, and phash: in a column `hash_verdict`, or refusing what changed."""
    blur_faces: bool = False
    """Blur the boxes of the metadata's `face_bboxes`."""
    robots: Literal["ignore", "obey"] = "obey"
    """Whether a host's robots.txt is asked and obeyed."""
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    """X-Robots-Tag directives to obey; [] obeys none."""
    user_agent_token: str | None = "winnow"
    """Name by which a robots.txt or an X-Robots-Tag may speak to this program alone."""
    user_agent: str = "winnow (builds image-text datasets; obeys robots.txt and X-Robots-Tag)"
    thread_count: int = Field(default=64, ge=1)
    """Connections of one worker; wanted pictures per second times the servers' latency is a good number."""
    max_per_host: int = Field(default=8, ge=1)
    """Connections of one worker to one host."""
    requests_per_second_per_host: float | None = Field(default=None, gt=0)
    """Requests of one worker that one host may get in a second."""
    decode_threads: int = Field(default=2, ge=1)
    timeout: float = Field(default=10.0, gt=0)
    """Seconds an attempt may take altogether."""
    stall_timeout: float = Field(default=3.0, gt=0)
    """Seconds without a byte after which a body that had begun is given up, and not tried again."""
    retries: int = Field(default=2, ge=0)
    """Further attempts after timeouts, broken connections, 429 and 5xx."""
    max_retry_after: float = Field(default=30.0, ge=0)
    """Seconds that a host can make a worker wait by Retry-After altogether."""
    max_bytes: int = Field(default=20_000_000, ge=1)
    """Largest body in bytes, claimed or streamed."""
    max_redirects: int = Field(default=5, ge=0)
    allow_private: tuple[str, ...] = ()
    """Addresses, networks and host names that URLs may lead to although they are not public: [127.0.0.1/32]."""
    ca_file: str | None = None
    """PEM file of the authorities whose certificates are trusted, instead of the system's."""
    connect_to: str | None = None
    """"address:port" of all connections; set by the stage itself while the source serves its own web."""

    @field_validator("verify_hash", mode="before")
    @classmethod
    def _yaml_off(cls, value: Any) -> Any:
        """Read the bare word `off`, which YAML takes for a boolean, as what it says."""
        return "off" if value is False else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse what cannot work together."""
        if self.encode_format == "png" and (self.encode_quality or 0) > 9:
            raise ValueError("encode_quality of png is its compression level, 0 to 9")
        if self.direct and not self._source.draws:
            raise ValueError("direct needs a source that draws its pictures, such as webnoise; leave it out")
        _ = AddressGuard(self.allow_private).networks
        if self.engine == "img2dataset":
            for name in sorted(self.model_fields_set & IMPOSSIBLE):
                raise ValueError(f"engine img2dataset cannot honour {name!r}; leave it out or use the engine winnow")
        return self

    def scope(self) -> tuple[str, ...]:
        """Own the shards, and the rounds of retries that some of them come from."""
        return ("download/", "retry/")

    def plan(self) -> list[Unit]:
        """Return one unit per metadata file, and one per shard of a round of retries.

        Raises:
            UserError: the pool has no metadata.
        """
        layout, journal = self.layout(), self.upstream()
        units = []
        for shard in layout.shards.values():
            if not layout.in_force(shard, journal):  # a retry was ended while it was being prepared; `winnow retry`
                continue
            row = journal.rows.get(f"download/{shard.name}")
            key = row.key if row is not None and row.key in shard.keys else shard.keys[-1]
            spec = {"metadata": shard.metadata, "shard": shard.name, "taken": shard.taken}
            units.append(Unit(name=shard.name, products={f"download/{shard.name}": key}, spec=spec))
        return [*units, *(Unit(name=name, products={name: key}) for name, key in layout.rounds.items())]

    def layout(self) -> Layout:
        """Return the shards of the pool, those of retries included.

        Raises:
            UserError: the pool has no metadata.
        """
        journal = self.upstream()
        row = journal.rows.get("ingest/metadata")
        names = [name for name in self.store.list("metadata", ".parquet") if _shard(name).isdigit()]
        if row is not None:  # files of an earlier, longer ingest do not count
            names = [name for name in names if name in row.files]
        if not names:
            raise UserError(f"no metadata in the pool {self.pool!r}; `winnow ingest` makes it")
        originals = {}
        for name in names:
            state = row.files[name][1] if row is not None else str(self.store.size(name))
            originals[_shard(name)] = Shard(_shard(name), name, self._key(state))
        return layout_of(self.store, journal, originals, self._key)

    @contextmanager
    def session(self) -> Iterator[Self]:
        """Hold up the source's own web, if it has one and it is wanted."""
        if self.direct:
            yield self
            return
        with self._source.serve() as address:
            if address is not None and self.engine == "img2dataset":
                raise UserError("engine img2dataset cannot reach a web that only this run serves; use engine: winnow")
            yield self if address is None else self.model_copy(update={"connect_to": address})

    def setup(self) -> None:
        """Load what resizes: half of it is torch, which takes seconds."""
        if self.engine == "winnow":
            Resizer(image_size=2, encode_format="png", encode_quality=1).make(blank(4, 4), b"")

    def run(self, unit: Unit, attempt: Path) -> Mapping[str, Product]:
        """Make NNNNN.tar, NNNNN.parquet and NNNNN_stats.json."""
        if "shard" not in unit.spec:
            raise UserError(f"the list of {unit.name} is damaged; remove retries/ and {unit.name}'s row in journal/")
        shard, taken = str(unit.spec["shard"]), list(unit.spec.get("taken", ()))
        with self.store.open(str(unit.spec["metadata"])) as file:
            metadata = pq.read_table(file)
        settled = {
            row: later for later in taken for row in sources_of(self.store, f"retries/{later}.parquet").get(shard, ())
        }
        rows = rows_of(metadata, settled, hashes=self.verify_hash != "off", boxes=self.blur_faces)
        extras = [
            *(["hash_verdict"] if self.verify_hash != "off" else []),
            *(["converted"] if self.record_conversions else []),
        ]
        with tempfile.TemporaryFile(dir=attempt) as spool:
            if self.engine == "img2dataset":
                outcomes = self.ask_img2dataset(rows, attempt, spool)
            else:
                fetch = self._draw if self.direct else self.fetcher().fetch
                outcomes = collect(rows, fetch, self.converter(), spool, self.decode_threads)
            counts = write_shard(
                attempt,
                shard,
                carried(metadata),
                outcomes,
                spool,
                samples_per_shard(metadata),
                self.encode_format,
                extras,
            )
        files = {f"shards/{shard}{end}": attempt / f"{shard}{end}" for end in (".tar", ".parquet", "_stats.json")}
        return {f"download/{shard}": Product(files=files, counts=counts)}

    def ask_img2dataset(self, rows: Sequence[Row], attempt: Path, spool: IO[bytes]) -> list[Outcome]:
        """Let img2dataset fetch rows under these fields; see `pipeline.download.peer`."""
        from pipeline.download.peer import collect_with_img2dataset

        return collect_with_img2dataset(
            rows,
            attempt,
            spool,
            self.resizer(),
            thread_count=self.thread_count,
            extract_exif=self.extract_exif,
            timeout=self.timeout,
            retries=self.retries,
            user_agent_token=self.user_agent_token,
            disallowed_header_directives=self.disallowed_header_directives,
        )

    def _draw(self, urls: Sequence[str], done: Done, ready: Callable[[], bool]) -> None:
        """Let the source draw what a fetcher would fetch."""
        for index, url in enumerate(urls):
            while not ready():
                time.sleep(0.001)
            done(index, Fetched(self._source.body(url)))

    @cached_property
    def _source(self) -> Source:
        """The source of the URLs."""
        source: Source = build("pipeline.sources", self.source, "source")
        return source

    def converter(self) -> Converter:
        """Return what these fields make of a body."""
        return Converter(resizer=self.resizer(), extract_exif=self.extract_exif, verify_hash=self.verify_hash)

    def resizer(self) -> Resizer:
        """Return the resizer of these fields."""
        default = 6 if self.encode_format == "png" else 95
        quality = default if self.encode_quality is None else self.encode_quality
        fields = {name: getattr(self, name) for name in Resizer.__dataclass_fields__ if name != "encode_quality"}
        return Resizer(**fields, encode_quality=quality)

    def fetcher(self) -> Fetcher:
        """Return the fetcher of these fields."""
        same = {name: getattr(self, name) for name in Fetcher.__dataclass_fields__ if name in type(self).model_fields}
        return Fetcher(**same, connections=self.thread_count, connect_timeout=min(5.0, self.timeout))

    def _key(self, state: str) -> str:
        """Hash what decides a shard's bytes; how patiently the web was asked is not part of it."""
        return digest(
            "download",
            state,
            vars(self.resizer()),
            self.extract_exif,
            self.verify_hash,
            self.disallowed_header_directives,
            self.max_bytes,
            self.robots,
            {name: True for name in ("direct", "blur_faces", "record_conversions") if getattr(self, name)},
            *([self.engine] if self.engine != "winnow" else []),
        )


def _shard(name: str) -> str:
    """Return the number that a metadata file and its shard share, "00003"."""
    return name.rpartition("/")[2].removesuffix(".parquet")
