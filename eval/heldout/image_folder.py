"""Plain pictures in one folder per class: `pets/red panda/17.jpg`."""

from collections.abc import Iterator
from functools import cached_property

from eval.heldout.example import Decode, Example, HeldOut
from winnow.errors import UserError
from winnow.storage import Store

__all__ = ["PICTURES", "ImageFolder"]

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2")


class ImageFolder(HeldOut):
    """Classes are the sub-folders in the order of their names, as for torchvision's ImageFolder.

    classnames.txt and zeroshot_classification_templates.txt in the folder give the classes other names (line i those of
    folder i) and templates of their own.
    """

    def __init__(self, path: str, decode: Decode) -> None:
        super().__init__(path, decode)
        self.store = Store(path)

    @cached_property
    def pictures(self) -> list[str]:
        """Paths of the pictures below the folder, those of class folders only, sorted."""
        start = len(self.store.root) + 1
        names = sorted(str(name)[start:] for name in self.store.fs.find(self.store.root))
        return [name for name in names if "/" in name and name.lower().endswith(PICTURES)]

    @cached_property
    def folders(self) -> list[str]:
        """Names of the class folders."""
        return sorted({name.partition("/")[0] for name in self.pictures})

    def files(self) -> list[str]:
        """Return the pictures and the texts."""
        texts = [
            name for name in ("classnames.txt", "zeroshot_classification_templates.txt") if self.store.exists(name)
        ]
        return [f"{self.path.rstrip('/')}/{name}" for name in [*self.pictures, *texts]]

    def kind(self) -> str:
        """Return "classification"."""
        return "classification"

    def class_names(self) -> list[str]:
        """Return the folders' names with blanks for underscores, or classnames.txt."""
        if not self.store.exists("classnames.txt"):
            return [name.replace("_", " ") for name in self.folders]
        lines = self._lines("classnames.txt")
        if len(lines) != len(self.folders):
            raise UserError(
                f"{self.path}/classnames.txt has {len(lines)} lines for {len(self.folders)} folders with pictures"
            )
        return lines

    def templates(self) -> list[str]:
        """Return the templates of the folder, else a plain one."""
        name = "zeroshot_classification_templates.txt"
        return [line for line in self._lines(name) if line] if self.store.exists(name) else ["a photo of a {c}."]

    def examples(self) -> Iterator[Example]:
        """Yield the pictures by folder and name."""
        for name in self.pictures:
            label = str(self.folders.index(name.partition("/")[0]))
            yield Example(name, f"{self.path.rstrip('/')}/{name}", self.store.read(name), label)

    def _lines(self, name: str) -> list[str]:
        return [line.strip() for line in self.store.read(name).decode("utf-8").removesuffix("\n").split("\n")]
