"""Words over a picture: face, size, lines, place, angle, contrast, paper and what hides them, with exact polygons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.webnoise.scene import COLORS

__all__ = ["Lettering", "Shape", "can_write", "plan_lettering", "write"]

WIDE_FACES = (
    *(f"DejaVuSans{end}" for end in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{end}" for end in ("", "-Bold", "-Oblique")),
    *(f"DejaVuSerif{end}" for end in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{end}" for end in ("", "Bol", "Italic", "BolIta")),
)  # matplotlib brings them; they have accents and Cyrillic
ASCII_FACES = ("cmb10", "cmr10", "cmss10", "cmti10", "cmtt10")
MIN_SIZE = 9  # px; smaller letters cannot be read, so words are left out instead
MARGIN = 3  # px between letters and the edge of the picture
PAPER = 4  # px of paper around the letters
CONTRASTS = {"strong": 0.62, "medium": 0.25, "faint": 0.13}
ALPHAS = {"strong": (1.0, 1.0), "medium": (0.7, 1.0), "faint": (0.15, 0.35)}


@dataclass(frozen=True)
class Shape:
    """Something that lies over a part of the words."""

    kind: str
    """"ellipse" or "rectangle"."""
    box: tuple[int, int, int, int]
    color: str


@dataclass(frozen=True)
class Lettering:
    """Words in their place, ready to be drawn."""

    face: str
    size: int
    lines: tuple[tuple[str, int, int], ...]
    """Text, left end and baseline of each line within the block, in pixels."""
    boxes: tuple[tuple[int, int, int, int], ...]
    """Left, top, right and bottom of each line's ink within the block."""
    block: tuple[int, int]
    """Width and height of the block before it is turned."""
    angle: float
    """Degrees, counter-clockwise."""
    centre: tuple[float, float]
    """Of the block within the picture."""
    contrast: str
    """"strong": a colour with paper or an outline; "medium": black or white, whatever differs; "faint": a watermark."""
    ink: str
    alpha: float
    paper: bool
    shapes: tuple[Shape, ...] = ()

    @property
    def text(self) -> str:
        """The words as they are written."""
        return " ".join(line for line, _, _ in self.lines)

    @property
    def edge(self) -> int:
        """Width of the outline in pixels."""
        return max(1, self.size // 14) if self.contrast == "strong" and not self.paper else 0

    def polygons(self) -> list[NDArray[np.float64]]:
        """Return a (4, 2) polygon of x, y in pixels around the ink of each line, clockwise from its first letter."""
        return [
            self._turn(((left, top), (right, top), (right, end), (left, end))) for left, top, right, end in self.boxes
        ]

    def paper_polygon(self) -> NDArray[np.float64]:
        """Return the (4, 2) corners of the paper behind all lines."""
        width, height = self.block
        return self._turn(
            ((-PAPER, -PAPER), (width + PAPER, -PAPER), (width + PAPER, height + PAPER), (-PAPER, height + PAPER))
        )

    def _turn(self, points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
        """Carry points of the block into the picture."""
        return (np.array(points) - np.array(self.block) / 2) @ _rotation(self.angle) + self.centre


def can_write(text: str) -> bool:
    """Tell whether the faces have every letter of a text."""
    return set(text) <= _letters(WIDE_FACES[0])


def plan_lettering(words: str, width: int, height: int, rng: np.random.Generator) -> Lettering:
    """Decide how to write words into a picture of this size; words that do not fit are left out from the end.

    Args:
        words: at least one word of letters that `can_write` accepts.
        width: of the picture in pixels.
        height: likewise.
        rng: the picture's own generator.
    """
    if rng.random() < 0.2:
        words = words.upper() if can_write(words.upper()) else words
    faces = WIDE_FACES + (ASCII_FACES if set(words) <= _letters(ASCII_FACES[0]) else ())
    face = faces[int(rng.integers(len(faces)))]
    contrast = str(rng.choice(list(CONTRASTS), p=list(CONTRASTS.values())))
    spread = float(rng.choice((0.0, 14.0, 50.0, 90.0), p=(0.7, 0.2, 0.07, 0.03)))
    angle = math.copysign(90.0, rng.random() - 0.5) if spread == 90.0 else float(rng.uniform(-spread, spread))
    wanted = max(MIN_SIZE, int(min(height, 1.6 * width) * rng.uniform(0.06, 0.18)))
    aligned = float(rng.choice((0.0, 0.5, 1.0), p=(0.45, 0.45, 0.1)))
    edge = contrast == "strong"
    rows, size, angle = _fit(words.split(), face, wanted, angle, width, height, edge)
    font = _font(face, size)
    stroke = max(1, size // 14) if edge else 0
    widths = [font.getlength(row) for row in rows]
    lines, boxes = [], []
    for number, (row, length) in enumerate(zip(rows, widths, strict=True)):
        x, y = round(aligned * (max(widths) - length)), round(number * size * 1.22)
        left, top, right, bottom = map(round, font.getbbox(row, anchor="ls", stroke_width=stroke))
        lines.append((row, x, y))
        boxes.append((x + left, y + top, x + right, y + bottom))
    dx, dy = -min(box[0] for box in boxes), -min(box[1] for box in boxes)
    boxes = [(left + dx, top + dy, right + dx, bottom + dy) for left, top, right, bottom in boxes]
    block = max(box[2] for box in boxes), max(box[3] for box in boxes)
    extent = _extent(block, angle)
    free = max(0.0, width - extent[0] - 2 * MARGIN), max(0.0, height - extent[1] - 2 * MARGIN)
    place = float(rng.choice((0.02, 0.98, -1.0), p=(0.25, 0.4, 0.35)))
    place = rng.random() if place < 0 else place  # most captions stand at an edge, many anywhere
    left = MARGIN + extent[0] / 2 + free[0] * rng.random() - block[0] / 2
    top = MARGIN + extent[1] / 2 + free[1] * place - block[1] / 2
    planned = Lettering(
        face=face,
        size=size,
        lines=tuple((row, x + dx, y + dy) for row, x, y in lines),
        boxes=tuple(boxes),
        block=block,
        angle=angle,
        centre=(round(left) + block[0] / 2, round(top) + block[1] / 2),  # upright letters fall on whole pixels
        contrast=contrast,
        ink=str(rng.choice(("black", "white", "red", "blue", "purple", "yellow"))),
        alpha=float(rng.uniform(*ALPHAS[contrast])),
        paper=contrast == "strong" and rng.random() < 0.45,
    )
    if rng.random() >= 0.12:
        return planned
    return Lettering(**{**vars(planned), "shapes": _shapes(planned, rng)})


def write(canvas: Image.Image, lettering: Lettering) -> None:
    """Draw the words, their paper and what hides a part of them."""
    pen = ImageDraw.Draw(canvas)
    ink, paper = COLORS[lettering.ink], COLORS["white"]
    if sum(ink) >= 380:
        paper = COLORS["black"]
    if lettering.contrast != "strong":
        ink = _visible(canvas, lettering)
    if lettering.paper:
        pen.polygon([tuple(point) for point in lettering.paper_polygon()], fill=paper)
    if lettering.edge:
        _stamp(canvas, lettering, paper, lettering.edge)
    _stamp(canvas, lettering, ink, 0)
    for shape in lettering.shapes:
        (pen.ellipse if shape.kind == "ellipse" else pen.rectangle)(shape.box, fill=COLORS[shape.color])


def _fit(
    words: list[str], face: str, size: int, angle: float, width: int, height: int, edge: bool
) -> tuple[list[str], int, float]:
    """Return lines, size and angle at which words fit into a picture, with the last words dropped where they must."""
    while True:
        bounds = width - 2 * MARGIN, height - 2 * MARGIN
        cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
        room = 0.96 * min(bounds[0] / max(cos, 1e-6), bounds[1] / max(sin, 1e-6))
        rows = _break(words, face, size, room)
        font = _font(face, size)
        border = 2 * max(1, size // 14) if edge else 0
        block = max(font.getlength(row) for row in rows) + border, size * (1.22 * len(rows) + 0.1) + border
        extent = _extent(block, angle)
        if extent[0] <= bounds[0] and extent[1] <= bounds[1] and block[1] <= 0.62 * max(bounds):
            return rows, size, angle
        if size > MIN_SIZE:
            size = max(MIN_SIZE, int(size * 0.86))
        elif angle:
            angle = 0.0
        elif len(words) > 1:
            words = words[:-1]
        elif len(words[0]) > 2:
            words = [words[0][:-1]]
        else:
            return rows, size, angle


def _break(words: list[str], face: str, size: int, room: float) -> list[str]:
    """Break words into lines no wider than `room` pixels, a longer word standing alone."""
    font = _font(face, size)
    rows: list[str] = []
    for word in words:
        if rows and font.getlength(f"{rows[-1]} {word}") <= room:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows


def _extent(block: tuple[float, float], angle: float) -> tuple[float, float]:
    """Return width and height of a turned block's bounding box."""
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    return block[0] * cos + block[1] * sin, block[0] * sin + block[1] * cos


def _rotation(angle: float) -> NDArray[np.float64]:
    """Return the (2, 2) matrix that turns row vectors counter-clockwise on the screen, whose y axis points down."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[cos, -sin], [sin, cos]])


def _stamp(canvas: Image.Image, lettering: Lettering, color: tuple[int, int, int], stroke: int) -> None:
    """Draw the letters in one colour."""
    width, height = lettering.block
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    for row, x, y in lettering.lines:
        pen.text((x, y), row, fill=255, font=_font(lettering.face, lettering.size), anchor="ls", stroke_width=stroke)
    left, top = lettering.centre[0] - width / 2, lettering.centre[1] - height / 2
    corner = int(left), int(top)
    if lettering.angle:
        extent = _extent((width, height), lettering.angle)
        corner = math.floor(lettering.centre[0] - extent[0] / 2), math.floor(lettering.centre[1] - extent[1] / 2)
        size = math.ceil(extent[0]) + 1, math.ceil(extent[1]) + 1
        back = _rotation(-lettering.angle)  # from the picture into the block
        shift = (np.array(corner) - lettering.centre) @ back + np.array((width, height)) / 2
        data = (back[0, 0], back[1, 0], shift[0], back[0, 1], back[1, 1], shift[1])
        mask = mask.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    if lettering.alpha < 1:
        mask = mask.point([round(value * lettering.alpha) for value in range(256)])
    canvas.paste(color, (*corner, corner[0] + mask.width, corner[1] + mask.height), mask)


def _visible(canvas: Image.Image, lettering: Lettering) -> tuple[int, int, int]:
    """Return black or white, whichever differs more from what lies under the words."""
    extent = _extent(lettering.block, lettering.angle)
    x, y = lettering.centre
    box = (int(x - extent[0] / 2), int(y - extent[1] / 2), int(x + extent[0] / 2) + 1, int(y + extent[1] / 2) + 1)
    under = np.asarray(canvas.crop(box).resize((8, 8), Image.Resampling.BOX).convert("L"))
    return COLORS["black"] if under.mean() > 120 else COLORS["white"]


def _shapes(lettering: Lettering, rng: np.random.Generator) -> tuple[Shape, ...]:
    """Lay one to three shapes over at most a third of the words."""
    width, height = _extent(lettering.block, lettering.angle)
    left, top = lettering.centre[0] - width / 2, lettering.centre[1] - height / 2
    shapes = []
    for _ in range(int(rng.integers(1, 4))):
        shares = rng.uniform(0.06, 0.14), rng.uniform(0.4, 1.1)  # along and across the words
        wide, high = width * shares[width < height], height * shares[width >= height]
        x, y = left + (width - wide) * rng.random(), top + (height - high) * rng.random()
        box = int(x), int(y), int(x + wide) + 2, int(y + high) + 2
        shapes.append(Shape(str(rng.choice(("ellipse", "rectangle"))), box, str(rng.choice(list(COLORS)))))
    return tuple(shapes)


@lru_cache(maxsize=1024)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """Open one of matplotlib's fonts; Pillow's own layout, because Raqm is not everywhere."""
    return ImageFont.truetype(str(_folder() / f"{face}.ttf"), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _letters(face: str) -> frozenset[str]:
    """Return the letters that a face has."""
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(str(_folder() / f"{face}.ttf")).get_charmap()))


@cache
def _folder() -> Path:
    """Where matplotlib keeps its fonts."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
