"""Scores per uid in any table: parquet, csv, tsv or jsonl, as FLYT and others publish them."""

from typing import ClassVar

from pipeline.attachments._tables import TableAttachment
from pipeline.pools.tabular import FORMATS

__all__ = ["Table"]


class Table(TableAttachment):
    """All columns of the table but those that tell the rows: uid; url and caption; hash; key."""

    suffixes: ClassVar[tuple[str, ...]] = FORMATS
