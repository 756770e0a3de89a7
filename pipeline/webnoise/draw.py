"""Draw one picture: a drawing on a background, perhaps with words over it, encoded as the web would."""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw, ImageFont

from pipeline.webnoise.pictures import Picture
from winnow.errors import require

__all__ = ["COLORS", "Scene", "draw", "encode"]

COLORS = {
    "white": (250, 250, 248),
    "grey": (150, 152, 156),
    "black": (24, 24, 28),
    "red": (205, 58, 52),
    "orange": (242, 150, 60),
    "yellow": (247, 214, 86),
    "green": (92, 168, 98),
    "teal": (60, 160, 160),
    "blue": (74, 118, 206),
    "purple": (138, 92, 178),
    "pink": (242, 162, 190),
    "brown": (138, 100, 72),
}
"""Background colours, which captions name."""

BACKGROUNDS = ("plain", "gradient", "spotlight", "noise", "stripes", "checks")
RENDER_LIMIT = 120  # px; resvg costs 12 ms at 256 px and grows with the area: larger drawings are scaled up
FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf",
)  # matplotlib brings them; they have Latin and Cyrillic letters


@dataclass(frozen=True)
class Scene:
    """Everything that a picture is made of, decided before a pixel is drawn."""

    picture: Picture
    color: str
    """Background colour, a key of COLORS."""
    text: str
    """Words drawn over it, "" for none."""
    width: int
    height: int
    seed: tuple[int, ...]
    """Of the generator that decides position, texture and letters."""
    format: str = "jpg"
    """"jpg", "png" or "webp"."""


def draw(scene: Scene) -> Image.Image:
    """Return the scene as an RGB picture of its size; the same scene always gives the same pixels."""
    rng = np.random.default_rng(scene.seed)
    canvas = _background(scene.width, scene.height, COLORS[scene.color], rng)
    side = min(scene.width, scene.height)
    size = int(side * rng.uniform(0.55, 0.95))
    drawing = _drawing(scene.picture, size)
    if rng.random() < 0.3:
        drawing = drawing.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BILINEAR)
    free_x, free_y = scene.width - size, scene.height - size
    left, top = int(free_x * rng.beta(2.5, 2.5)), int(free_y * rng.beta(2.5, 2.5))
    if rng.random() < 0.5:  # a plate keeps outlines visible on dark grounds
        plate = Image.new("RGBA", drawing.size, (0, 0, 0, 0))
        tint = (255, 255, 255, int(rng.integers(90, 230)))
        ImageDraw.Draw(plate).ellipse((0, 0, size - 1, size - 1), fill=tint)
        canvas.paste(plate, (left, top), plate)
    canvas.paste(drawing, (left, top), drawing)
    if scene.text:
        _write(canvas, scene.text, rng)
    return canvas


def encode(image: Image.Image, format: str, quality: int = 88) -> bytes:
    """Encode an RGB picture as "jpg", "png" or "webp"; `quality` is ignored by png."""
    if format == "jpg":
        return simplejpeg.encode_jpeg(np.asarray(image), quality=quality, colorspace="RGB", colorsubsampling="420")  # type: ignore[no-any-return]
    buffer = io.BytesIO()
    if format == "png":
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "WEBP", quality=quality, method=0)
    return buffer.getvalue()


def _drawing(picture: Picture, size: int) -> Image.Image:
    """Render an SVG to (size, size) RGBA."""
    resvg = require("resvg_py", "demo")
    limit = min(size, RENDER_LIMIT)
    data = resvg.svg_to_bytes(svg_path=str(picture.path), width=limit, height=limit, skip_system_fonts=True)
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    return image if limit == size else image.resize((size, size), Image.Resampling.BICUBIC)


def _background(width: int, height: int, color: tuple[int, int, int], rng: np.random.Generator) -> Image.Image:
    """Paint a plain, graded or textured ground whose mean stays near `color`."""
    kind = str(rng.choice(BACKGROUNDS, p=(0.3, 0.25, 0.15, 0.1, 0.1, 0.1)))
    canvas = Image.new("RGB", (width, height), color)
    if kind == "plain":
        return canvas
    other = tuple(int(value) for value in np.clip(np.array(color) + rng.integers(-70, 71, size=3), 0, 255))
    if kind == "noise":
        mask = Image.fromarray(rng.integers(0, 256, size=(48, 48), dtype=np.uint8))
    elif kind == "gradient":
        ramp = np.linspace(0, 255, 64)
        weight = rng.random()
        mask = Image.fromarray((weight * ramp[:, None] + (1 - weight) * ramp[None]).astype(np.uint8))
    elif kind == "spotlight":
        axis = np.linspace(-1, 1, 64) ** 2
        mask = Image.fromarray(np.clip(255 * (axis[:, None] + axis[None]) / 1.5, 0, 255).astype(np.uint8))
    else:
        index = np.arange(96) // int(rng.integers(4, 13)) % 2
        cells = index[:, None] ^ index[None] if kind == "checks" else np.broadcast_to(index[None], (96, 96))
        mask = Image.fromarray((cells * 200).astype(np.uint8))
    mask = mask.resize((width, height), Image.Resampling.BILINEAR)
    canvas.paste(Image.new("RGB", (width, height), other), (0, 0), mask)
    return canvas


def _write(canvas: Image.Image, text: str, rng: np.random.Generator) -> None:
    """Set words in a random face, size, place and colour, broken into lines that fit."""
    face = str(rng.choice(FONTS))
    size = max(12, int(canvas.height * rng.uniform(0.09, 0.17)))
    room = int(canvas.width * 0.94)
    lines = _break(text, face, size, room)
    while size > 12 and (len(lines) * size * 1.2 > canvas.height * 0.6 or _width(lines, face, size) > room):
        size = max(12, int(size * 0.85))
        lines = _break(text, face, size, room)
    block = "\n".join(lines)
    font = _font(face, size)
    pen = ImageDraw.Draw(canvas)
    left, top, right, bottom = pen.multiline_textbbox((0, 0), block, font=font, spacing=2)
    slack = max(0, canvas.width - (right - left) - 4), max(0, canvas.height - (bottom - top) - 4)
    place = float(rng.choice((0.02, 0.5, 0.98), p=(0.3, 0.15, 0.55)))
    x, y = int(slack[0] * rng.random()) + 2 - left, int(slack[1] * place) + 2 - top
    ink = COLORS[str(rng.choice(("black", "white", "red", "blue", "purple", "yellow")))]
    dark = sum(ink) < 380
    if rng.random() < 0.45:
        paper = COLORS["white"] if dark else COLORS["black"]
        pen.rectangle((x + left - 4, y + top - 3, x + right + 4, y + bottom + 3), fill=paper)
        pen.multiline_text((x, y), block, font=font, fill=ink, spacing=2)
    else:
        edge = COLORS["white"] if dark else COLORS["black"]
        pen.multiline_text(
            (x, y), block, font=font, fill=ink, spacing=2, stroke_width=max(1, size // 14), stroke_fill=edge
        )


def _break(text: str, face: str, size: int, room: int) -> list[str]:
    """Break words into lines no wider than `room` pixels, a longer word standing alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and _width([f"{lines[-1]} {word}"], face, size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _width(lines: list[str], face: str, size: int) -> float:
    """Return the width of the longest line in pixels."""
    return max(float(_font(face, size).getlength(line)) for line in lines)


@lru_cache(maxsize=512)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """Open one of matplotlib's fonts."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / face), size)
