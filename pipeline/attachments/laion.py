"""LAION's tables: similarity, punsafe, pwatermark, LANGUAGE, NSFW, AESTHETIC_SCORE and whatever else they carry.

Source: LAION-400M and LAION-5B, whose URL and TEXT tell the rows, and the tables of LAION-5B that hold a `hash`
instead: the first half of MurmurHash3_x64_128 over url + text, signed (laion-prepro 84c384d, compute_hashes).
"""

from typing import ClassVar

from pipeline.attachments._tables import TableAttachment
from pipeline.pools.tabular import FORMATS

__all__ = ["Laion"]

NOT_ABOUT_A_SAMPLE = ("sample_id", "hash")


class Laion(TableAttachment):
    """All columns under their names in lower case: `similarity`, `punsafe`, `pwatermark`, `language`, `nsfw`."""

    suffixes: ClassVar[tuple[str, ...]] = FORMATS

    def _wanted(self, own: list[str], names: list[str], path: str) -> dict[str, str]:
        """Return ours -> theirs of the columns to take."""
        if self.columns is not None:
            return super()._wanted(own, names, path)
        return {name.lower(): name for name in own if name.lower() not in NOT_ABOUT_A_SAMPLE}
