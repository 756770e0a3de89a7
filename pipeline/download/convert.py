"""Turn one downloaded body into the outcome of its row and the picture to pack."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.download.decode import Picture
from pipeline.download.exif import exif_json
from pipeline.download.resize import Resizer
from pipeline.download.shard import Outcome
from pipeline.download.verdict import Published
from winnow.images import ImageError

__all__ = ["Converter", "Row"]


@dataclass(frozen=True)
class Row:
    """What the metadata say about one URL beside its caption."""

    url: str
    published: Published = field(default_factory=Published)
    boxes: Sequence[Sequence[float]] = ()
    """Of faces to blur, relative."""
    settled: Outcome | None = None
    """The outcome of a row that is not to be fetched."""


@dataclass(frozen=True, kw_only=True)
class Converter:
    """The rules of conversion; runs in several threads."""

    resizer: Resizer
    extract_exif: bool
    verify_hash: Literal["off", "report", "drop_changed"]

    def __call__(self, row: Row, body: bytes) -> tuple[Outcome, bytes | None]:
        """Return the outcome, and the encoded picture of a success."""
        sha256 = hashlib.sha256(body).hexdigest()
        verdict = None if self.verify_hash == "off" else row.published.of_bytes(body, sha256)
        drops = self.verify_hash == "drop_changed"
        if drops and verdict == "changed" and row.published.phash is None:
            return Outcome("failed_to_download", "hash mismatch", sha256=sha256, hash_verdict=verdict), None
        try:
            picture = self.resizer.decode(body)
            if verdict is not None:
                verdict = row.published.of_pixels(verdict, picture.pixels)
            if drops and verdict == "changed":
                return Outcome("failed_to_download", "hash mismatch", sha256=sha256, hash_verdict=verdict), None
            made = self.resizer.make(picture, body, row.boxes)
        except ImageError as error:
            return Outcome("failed_to_resize", str(error), sha256=sha256, hash_verdict=verdict), None
        outcome = Outcome(
            "success",
            width=made.width,
            height=made.height,
            original_width=made.original_width,
            original_height=made.original_height,
            exif=self._exif(picture),
            sha256=sha256,
            hash_verdict=verdict,
            converted=",".join(picture.traits) or None,
        )
        return outcome, made.data

    def _exif(self, picture: Picture) -> str | None:
        """Return a picture's EXIF as it is kept."""
        return exif_json(picture.header) if self.extract_exif else None
