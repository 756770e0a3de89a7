"""Pictures in parquet files with a column of class names or captions, such as exports of Hugging Face data sets."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.pictureset import PictureSet, Subject
from pipeline.picturesets._emoji_names import names_of
from pipeline.picturesets._files import find_files
from winnow.errors import UserError
from winnow.images import decode_image

__all__ = ["LabelledParquet"]


class LabelledParquet(PictureSet):
    """Read files whose pictures fit into memory in encoded form."""

    path: str
    """File, folder or glob."""
    image: str = "image"
    """Column of encoded pictures: binary, or the struct {bytes, path} of Hugging Face."""
    label: str = "class"
    """Column of class names, or of numbers that `class_names` explains; "" for a set that has captions alone."""
    class_names: tuple[str, ...] = ()
    """Class number -> name."""
    caption: str = ""
    """Column of captions, "" to make them from the class name."""
    key: str = ""
    """Column that identifies a picture; "" numbers them."""

    @classmethod
    def tiny(cls) -> "LabelledParquet":
        """Return a set that need not exist before it is read."""
        return cls(path="pictures.parquet")

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """One subject per row, in the order of their ids.

        Raises:
            UserError: a file or column is missing, a class number has no name, a key repeats.
        """
        found = []
        for number, row in enumerate(self._rows()):
            label = row.get(self.label)
            name = self._class_name(label) if label is not None else ""
            caption = (row[self.caption] or "").strip() if self.caption else ""
            key = str(row[self.key]) if self.key else f"{number:09d}"
            if name or caption:
                names = names_of(name.replace("_", " ")) if name else {"en": caption}
                found.append(Subject(key, names, name.replace("_", " "), key, caption))
        if len({subject.id for subject in found}) < len(found):
            raise UserError(f"pictures.key: column {self.key!r} does not tell the rows of {self.path!r} apart")
        if not found:
            raise UserError(f"pictures.path: no row of {self.path!r} has a class or a caption")
        return tuple(sorted(found, key=lambda subject: subject.id))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The classes that occur: by number where they have one, else by name."""
        present = {subject.group for subject in self.subjects}
        numbered = tuple(name.replace("_", " ") for name in self.class_names)
        return tuple(name for name in numbered if name in present) or tuple(sorted(present))

    def files(self) -> list[Path]:
        """Return the parquet files."""
        return find_files(self.path, (".parquet",))

    def picture(self, subject: Subject, side: int) -> Image.Image:
        """Decode a row's picture."""
        data = self._images[self._row_of[subject.id]].as_py()
        return Image.fromarray(decode_image(data["bytes"] if isinstance(data, dict) else data))

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield key, class and caption of every row, without pictures."""
        wanted = [name for name in (self.key, self.label, self.caption) if name]
        for path in self.files():
            accepted = pq.read_schema(path).names
            if missing := [name for name in (self.image, *wanted) if name not in accepted]:
                raise UserError(f"no column {missing[0]!r} in {str(path)!r}, which has {', '.join(accepted)}")
        tables = [pq.read_table(path, columns=wanted) for path in self.files()]
        yield from pa.concat_tables(tables).to_pylist()

    def _class_name(self, label: Any) -> str:
        """Return the class name of a label."""
        if not self.class_names or isinstance(label, str):
            return str(label)
        if not 0 <= int(label) < len(self.class_names):
            raise UserError(f"class {label} has no name: pictures.class_names has {len(self.class_names)}")
        return self.class_names[int(label)]

    @cached_property
    def _images(self) -> pa.ChunkedArray:
        """The encoded pictures of all files."""
        return pa.chunked_array(
            [c for path in self.files() for c in pq.read_table(path, columns=[self.image])[self.image].chunks]
        )

    @cached_property
    def _row_of(self) -> dict[str, int]:
        """Subject id -> row over all files."""
        if not self.key:
            return {subject.id: int(subject.id) for subject in self.subjects}
        keys = [key for path in self.files() for key in pq.read_table(path, columns=[self.key])[self.key].to_pylist()]
        return {str(key): row for row, key in enumerate(keys)}
