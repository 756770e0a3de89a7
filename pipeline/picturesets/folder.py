"""Pictures in a folder: one folder per class, or a text file with the caption beside each picture."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from PIL import Image

from pipeline.pictureset import PictureSet, Subject
from pipeline.picturesets._emoji_names import names_of
from pipeline.picturesets._files import PICTURES, find_files
from winnow.errors import UserError
from winnow.images import decode_image

__all__ = ["Folder"]


class Folder(PictureSet):
    """Read `photos/red panda/17.jpg`, or `photos/17.jpg` with `photos/17.txt`.

    A picture below a folder belongs to the class that its folder names; a `.txt` beside it is its caption. One of the
    two is needed.
    """

    path: str
    class_names: Mapping[str, str] = {}
    """Folder -> class name, where folders do not carry names in words: {n02509815: red panda}."""

    @classmethod
    def tiny(cls) -> "Folder":
        """Return a set that need not exist before it is read."""
        return cls(path="pictures")

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """One subject per picture, sorted by its path below the folder.

        Raises:
            UserError: there is no picture with a class or a caption.
        """
        found = []
        for file in self.files():
            beside = file.with_suffix(".txt")
            caption = " ".join(beside.read_text(encoding="utf-8").split()) if beside.is_file() else ""
            place = file.relative_to(self.path)
            group = self.class_names.get(place.parent.name, place.parent.name.replace("_", " "))
            if caption or group:
                names = names_of(group) if group else {"en": caption}
                found.append(Subject(place.as_posix(), names, group, place.as_posix(), caption))
        if not found:
            raise UserError(
                f"pictures.path: the pictures in {self.path!r} have neither a folder per class nor a .txt beside them"
            )
        return tuple(sorted(found, key=lambda subject: subject.id))

    def files(self) -> list[Path]:
        """Return the pictures.

        Raises:
            UserError: the folder is missing or has none.
        """
        if not Path(self.path).is_dir():
            raise UserError(f"pictures.path: {self.path!r} is no folder")
        return find_files(self.path, PICTURES)

    def picture(self, subject: Subject, side: int) -> Image.Image:
        """Decode a file."""
        return Image.fromarray(decode_image((Path(self.path) / subject.id).read_bytes()))
