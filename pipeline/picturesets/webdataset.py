"""Pictures in WebDataset tars: with captions (.txt), or with class numbers (.cls) and a classnames.txt.

Source: the layouts of img2dataset (jpg, txt) and of CLIP_benchmark's wds sets (webp or jpg, cls, classnames.txt).
"""

from functools import cached_property
from pathlib import Path

from PIL import Image

from pipeline.pictureset import PictureSet, Subject
from pipeline.picturesets._emoji_names import names_of
from pipeline.picturesets._files import find_files
from winnow.errors import UserError
from winnow.images import decode_image
from winnow.shards import Entry, locate_samples

__all__ = ["WebDataset"]

NAMES = "classnames.txt"


class WebDataset(PictureSet):
    """Read tars; pictures are read from their place in the tar when they are wanted."""

    path: str
    """Tar, folder or glob."""
    class_names: str = ""
    """File with one class name per line; "" looks for classnames.txt beside the tars and one folder up."""

    @classmethod
    def tiny(cls) -> "WebDataset":
        """Return a set that need not exist before it is read."""
        return cls(path="pictures.tar")

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """One subject per sample that has a picture and a caption or a class, sorted by tar and key.

        Raises:
            UserError: no tar, none of its samples can be used, or a class has no name.
        """
        return tuple(subject for _, (subject, _, _) in sorted(self._found.items()))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The classes that occur, in the order of classnames.txt."""
        present = {subject.group for subject in self.subjects}
        return tuple(name for name in self._names if name in present) or tuple(sorted(present))

    def files(self) -> list[Path]:
        """Return the tars."""
        return find_files(self.path, (".tar",))

    def picture(self, subject: Subject, side: int) -> Image.Image:
        """Decode a member."""
        _, path, entry = self._found[subject.id]
        with open(path, "rb") as file:
            file.seek(entry.offset)
            return Image.fromarray(decode_image(file.read(entry.size)))

    @cached_property
    def _found(self) -> dict[str, tuple[Subject, Path, Entry]]:
        """Subject id -> subject, tar and member of its picture."""
        found = {}
        for number, path in enumerate(self.files()):
            with open(path, "rb") as file:
                samples, _ = locate_samples(file, str(path))
                for sample in samples:
                    image, texts = sample.image, {}
                    for suffix in ("txt", "cls"):
                        if entry := sample.members.get(suffix):
                            file.seek(entry.offset)
                            texts[suffix] = " ".join(file.read(entry.size).decode("utf-8", "replace").split())
                    if image is None or not any(texts.values()):
                        continue
                    group = self._class_name(texts["cls"], path) if texts.get("cls") else ""
                    caption = texts.get("txt", "")
                    key = f"{number:05d}/{image.key}"
                    names = names_of(group) if group else {"en": caption}
                    found[key] = (Subject(key, names, group, key, caption), path, image)
        if not found:
            raise UserError(f"pictures.path: no sample of {self.path!r} has a picture and a .txt or .cls")
        return found

    def _class_name(self, label: str, path: Path) -> str:
        """Return the name of a class by its number; a .cls that holds a name is taken as it is."""
        if not label.isdigit():
            return label
        if int(label) >= len(self._names):
            raise UserError(
                f"class {label} of {str(path)!r} has no name; give the file as pictures.class_names, one name per line"
            )
        return self._names[int(label)]

    @cached_property
    def _names(self) -> list[str]:
        """The class names by number."""
        folder = self.files()[0].parent
        places = [Path(self.class_names)] if self.class_names else [folder / NAMES, folder.parent / NAMES]
        for place in places:
            if place.is_file():
                return [line.strip() for line in place.read_text(encoding="utf-8").splitlines()]
        if self.class_names:
            raise UserError(f"pictures.class_names: no file {self.class_names!r}")
        return []
