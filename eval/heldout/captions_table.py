"""Pictures with captions in a table beside them: Flickr's `image,caption` csv and its kin."""

import csv
import io
from collections.abc import Iterator
from functools import cached_property

from eval.heldout.example import Decode, Example, HeldOut
from winnow.errors import UserError
from winnow.storage import Store

__all__ = ["TABLES", "CaptionsTable"]

TABLES = ("captions.csv", "captions.tsv", "captions.txt", "results.csv", "metadata.csv")
IMAGES = ("image", "image_name", "file_name", "filename", "filepath", "file", "path", "img")
CAPTIONS = ("caption", "comment", "text", "title", "sentence")


class CaptionsTable(HeldOut):
    """A row per caption, its picture beside the table or in `images/` (`Images/`); columns by their names."""

    def __init__(self, path: str, decode: Decode) -> None:
        super().__init__(path, decode)
        folder, _, self.name = path.rpartition("/")
        self.store = Store(folder or ".")

    @cached_property
    def rows(self) -> dict[str, tuple[str, ...]]:
        """Picture -> its captions, in the order of the table; blank captions do not count.

        Raises:
            UserError: no column of pictures or captions, or a row of another width.
        """
        text = self.store.read(self.name).decode("utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max("\t|,", key=head.count)
        # captions in files of tabs and bars hold quotes that are letters
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE,
        )
        names = [name.strip().lower() for name in next(reader, [])]
        image, caption = (next((names.index(n) for n in known if n in names), -1) for known in (IMAGES, CAPTIONS))
        if min(image, caption) < 0:
            raise UserError(
                f"{self.path}: needs a column of pictures ({', '.join(IMAGES)}) and one of captions "
                f"({', '.join(CAPTIONS)}), and has {', '.join(names) or 'no header'}"
            )
        found: dict[str, list[str]] = {}
        for row in reader:
            if len(row) <= max(image, caption):
                if not any(row):
                    continue
                raise UserError(f"{self.path}: line {reader.line_num} has {len(row)} columns, not {len(names)}")
            mine = found.setdefault(row[image].strip(), [])
            if self.decode == "compat" or row[caption].strip():
                mine.append(row[caption].strip())
        return {name: tuple(captions) for name, captions in found.items()}

    @cached_property
    def places(self) -> dict[str, str]:
        """Picture as the table names it -> its path in the store.

        Raises:
            UserError: there is no such picture.
        """
        found = {}
        for name in self.rows:
            places = [f"{folder}{name}" for folder in ("", "images/", "Images/")]
            place = next((place for place in places if self.store.exists(place)), None)
            if place is None:
                raise UserError(f"{self.path} names the picture {name!r}, and there is no such file beside it")
            found[name] = place
        return found

    def files(self) -> list[str]:
        """Return the table and its pictures."""
        return [self.path, *(f"{self.store.url}/{place}" for place in self.places.values())]

    def kind(self) -> str:
        """Return "retrieval"."""
        return "retrieval"

    def class_names(self) -> list[str]:
        """Raise: captions have no classes."""
        raise UserError(f"{self.path}: a table of captions has no classes")

    templates = class_names

    def examples(self) -> Iterator[Example]:
        """Yield the pictures in the order of the table."""
        for name, captions in self.rows.items():
            yield Example(name, f"{self.path}: picture {name}", self.store.read(self.places[name]), None, captions)
