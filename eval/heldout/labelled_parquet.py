"""Pictures in parquet files, as Hugging Face exports CIFAR or Flickr: struct {bytes, path} and a label or captions."""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eval.heldout.example import Decode, Example, HeldOut
from winnow.errors import UserError
from winnow.storage import Store

__all__ = ["LabelledParquet", "parquet_files"]

IMAGES = ("image", "img", "picture", "jpg", "png", "webp")
LABELS = ("label", "fine_label", "labels", "class", "cls", "target")
CAPTIONS = ("caption", "captions", "sentences", "text")
BATCH = 256


def parquet_files(store: Store) -> list[str]:
    """Return the parquet files of a folder or its data/: of the test split where names tell, else of validation."""
    names = store.list("", ".parquet") or store.list("data", ".parquet")
    for split in ("test", "val"):
        if mine := [name for name in names if name.rpartition("/")[2].startswith(split)]:
            return mine
    return names


class LabelledParquet(HeldOut):
    """Columns are found by their usual names; class names are those of Hugging Face's schema, or the labels' words."""

    def __init__(self, path: str, decode: Decode) -> None:
        super().__init__(path, decode)
        is_file = path.endswith(".parquet")
        self.store = Store(path.rpartition("/")[0] or ".") if is_file else Store(path)
        self.names = [path.rpartition("/")[2]] if is_file else parquet_files(self.store)

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the first file."""
        with self.store.open(self.names[0]) as file:
            return pq.read_schema(file)

    def column(self, known: tuple[str, ...]) -> str | None:
        """Return the first column that has one of the usual names, None without one."""
        return next((name for name in known if name in self.schema.names), None)

    def files(self) -> list[str]:
        """Return the parquet files."""
        return [f"{self.store.url.rstrip('/')}/{name}" for name in self.names]

    def kind(self) -> str:
        """Return "classification" with a column of labels, else "retrieval"."""
        return "classification" if self.column(LABELS) else "retrieval"

    @cached_property
    def words(self) -> list[str]:
        """Names of the classes, [] where labels are numbers without names."""
        label = self.column(LABELS)
        features = (
            json.loads((self.schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        )
        names: list[str] = features.get(label, {}).get("names") or []
        if names or label is None or not _is_text(self.schema.field(label).type):
            return [str(name).replace("_", " ") for name in names]
        found: set[str] = set()
        for name in self.names:
            with self.store.open(name) as file:
                found |= {str(v) for v in pc.unique(pq.read_table(file, columns=[label])[label]).to_pylist()}
        return sorted(found)

    def class_names(self) -> list[str]:
        """Return the names of the classes."""
        if not self.words:
            raise UserError(f"{self.path}: labels are numbers without names; give `class_names: [...]` in their order")
        return self.words

    def templates(self) -> list[str]:
        """Return a plain template."""
        return ["a photo of a {c}."]

    def examples(self) -> Iterator[Example]:
        """Yield the rows of all files."""
        image, label, captions = self.column(IMAGES), self.column(LABELS), self.column(CAPTIONS)
        if image is None or (label is None and captions is None):
            raise UserError(
                f"{self.path}: needs a column of pictures ({', '.join(IMAGES)}) and one of labels "
                f"({', '.join(LABELS)}) or captions ({', '.join(CAPTIONS)}), and has {', '.join(self.schema.names)}"
            )
        by_word = label is not None and _is_text(self.schema.field(label).type)
        for name in self.names:
            row = 0
            with self.store.open(name) as file:
                for batch in pq.ParquetFile(file).iter_batches(
                    BATCH, columns=[c for c in (image, label, captions) if c]
                ):
                    for item in batch.to_pylist():
                        where = f"{self.path}: {name}, row {row}"
                        yield Example(
                            key=f"{name.removesuffix('.parquet')}-{row:07d}",
                            where=where,
                            image=_encoded(item[image], where),
                            label=_label(item.get(label), self.words if by_word else None) if label else None,
                            captions=self._captions(item[captions]) if captions else (),
                        )
                        row += 1

    def _captions(self, value: Any) -> tuple[str, ...]:
        """Return one caption or several."""
        lines = [value] if isinstance(value, str) else value or []
        return tuple(str(line) for line in lines if self.decode == "compat" or str(line or "").strip())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _encoded(value: Any, where: str) -> bytes:
    """Return the encoded picture.

    Raises:
        UserError: there is none.
    """
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise UserError(f"{where} has no picture")
    return data


def _label(value: Any, words: list[str] | None) -> str | None:
    """Return the class index as text."""
    if value is None:
        return None
    return str(value) if words is None else str(words.index(str(value)))
