"""Pictures of one colour, whose classes and captions are known."""

import io
from collections.abc import Sequence

from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "grey": (120, 120, 120)}


def png(rgb: Sequence[int], size: int = 24) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), tuple(rgb)).save(file, "PNG")  # type: ignore[arg-type]
    return file.getvalue()
