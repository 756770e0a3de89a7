"""The source role: where a pool's (url, caption) pairs come from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from winnow.account import Account
from winnow.component import Component

__all__ = ["Source"]


class Source(Component):
    """Raw metadata, and for synthetic pools the web that the URLs point to."""

    provides: ClassVar[tuple[str, ...]] = ()
    """What `extras` makes beside the metadata: "truth", "trusted", "heldout"."""

    draws: ClassVar[bool] = False
    """Whether `body` gives the picture of each of its URLs without any web."""

    def fingerprint(self) -> str:
        """Return a hash that changes when the metadata or the extras would."""
        raise NotImplementedError

    def attribution(self) -> str:
        """Return whom a page that shows the pictures has to name, "" for nobody in particular."""
        return ""

    def tables(self) -> Iterator[pa.Table]:
        """Yield the metadata in order, in tables small enough for memory.

        Yields:
            columns url, text; optional uid, original_width, original_height, sha256; others are carried along.
        """
        raise NotImplementedError

    def unread(self) -> Account:
        """Return which rows the last reading of `tables` could not yield, and what it did to columns."""
        return Account()

    def extras(self, kind: str, attempt: Path) -> Mapping[str, Path]:
        """Make one kind of what it `provides` in the empty folder `attempt`.

        Returns:
            final name within the pool ("truth.parquet", "trusted/00000.tar") -> file.
        """
        raise NotImplementedError

    def body(self, url: str) -> bytes:
        """Draw the picture of a URL, for sources that `draws`."""
        raise NotImplementedError

    @contextmanager
    def serve(self) -> Iterator[str | None]:
        """Hold up the web of a synthetic pool; yield the "address:port" of every connection, None for the real web.

        The URLs themselves keep host names that no run changes, so uids and metadata do not depend on a port.
        """
        yield None
