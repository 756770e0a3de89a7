"""What is finished: one small row file per product. Nothing counts unless it is in the journal."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from winnow.storage import Store

__all__ = ["Journal", "Row"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One finished product: what it was made from, what it is."""

    product: str
    """Its name, "score/clip/00003"."""
    key: str
    """Hash of the config and of the inputs it was made from; a product whose key has changed is stale."""
    files: dict[str, tuple[int, str]]
    """Final name -> (size in bytes, sha256)."""
    counts: dict[str, int] = field(default_factory=dict)
    """What the stage counted: samples, failures by kind."""
    seconds: float = 0.0
    """Wall-clock time of the unit that made it."""

    def fingerprint(self) -> str:
        """Return the content hash that downstream keys are made of: equal bytes give equal fingerprints."""
        return "-".join(digest[:16] for _, digest in sorted(self.files.values()))


class Journal:
    """The rows of a store, in `journal/`. A row per file: atomic everywhere, appendable where appends do not exist."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows = self._load()

    def done(self, product: str, key: str) -> bool:
        """Tell whether `product` was made under `key` and its files still stand at their size."""
        row = self.rows.get(product)
        if row is None or row.key != key:
            return False
        return all(self.store.size(name) == size for name, (size, _) in row.files.items())

    def append(self, row: Row) -> None:
        """Record a finished product; its files must already stand under their final names."""
        self.store.write(self._name(row.product), json.dumps(asdict(row), indent=1).encode())
        self.rows[row.product] = row

    def forget(self, product: str) -> None:
        """Drop a row: before its files are replaced, and when the config no longer asks for the product."""
        if self.rows.pop(product, None) is not None:
            self.store.remove(self._name(product))

    def under(self, prefix: str) -> list[Row]:
        """Return the rows whose product starts with `prefix`, by name."""
        return [row for name, row in sorted(self.rows.items()) if name.startswith(prefix)]

    @staticmethod
    def _name(product: str) -> str:
        return f"journal/{product.replace('/', '~')}.json"

    def _load(self) -> dict[str, Row]:
        """Read every row."""
        names = self.store.list("journal", ".json")
        with ThreadPoolExecutor(16) as pool:
            texts = list(pool.map(self.store.read, names))
        rows = [_row(json.loads(text)) for text in texts]
        return {row.product: row for row in rows}


def _row(data: dict[str, Any]) -> Row:
    """Rebuild a row from JSON, where tuples have become lists."""
    files = {name: (int(size), str(digest)) for name, (size, digest) in data.pop("files").items()}
    return Row(files=files, **data)
