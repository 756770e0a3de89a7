"""Draw one picture: a drawing on a background or a photograph, perhaps with words, spoiled or copied, and encode it."""

import io
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from pipeline.pictureset import PictureSet
from pipeline.webnoise.lettering import Lettering, plan_lettering, write
from pipeline.webnoise.scene import COLORS, Edit, Scene

__all__ = ["Written", "draw", "encode", "lettering_of", "render", "written_in"]

BACKGROUNDS = {
    "plain": 0.24,
    "gradient": 0.2,
    "spotlight": 0.12,
    "clouds": 0.12,
    "bokeh": 0.1,
    "horizon": 0.07,
    "noise": 0.05,
    "stripes": 0.05,
    "checks": 0.05,
}
_LETTERS, _DEFECT = 101, 102  # streams of a scene's generators beside that of the composition


@dataclass(frozen=True)
class Written:
    """One line of words in a picture."""

    text: str
    polygon: NDArray[np.float64]
    """(4, 2): x and y as shares of width and height, which any resizing that keeps the whole picture preserves."""


def draw(scene: Scene, pictures: PictureSet) -> Image.Image:
    """Return the scene as an RGB picture; the same scene always gives the same pixels."""
    rng = np.random.default_rng(scene.seed)
    if scene.subject is None:
        canvas = Image.new("RGB", (scene.width, scene.height), COLORS[scene.color])
    elif pictures.kind == "drawing":
        canvas = _compose(scene, pictures, rng)
    else:
        canvas = _photograph(scene, pictures, rng)
    if (lettering := lettering_of(scene)) is not None:
        write(canvas, lettering)
    if scene.defect:
        canvas = _spoil(canvas, scene.defect, np.random.default_rng((*scene.seed, _DEFECT)))
    return _edited(canvas, scene.edit) if scene.edit is not None else canvas


def lettering_of(scene: Scene) -> Lettering | None:
    """Return how the scene's words are written, None without words; decided without drawing anything."""
    if not scene.words:
        return None
    return plan_lettering(scene.words, scene.width, scene.height, np.random.default_rng((*scene.seed, _LETTERS)))


def written_in(scene: Scene) -> list[Written]:
    """Return every line of words in the scene's picture as it is served, with its place."""
    lettering = lettering_of(scene)
    if lettering is None:
        return []
    left, top, right, bottom = scene.edit.crop if scene.edit is not None else (0.0, 0.0, 1.0, 1.0)
    size, corner, extent = (scene.width, scene.height), (left, top), (right - left, bottom - top)
    lines = zip(lettering.lines, lettering.polygons(), strict=True)
    return [Written(row, np.clip((place / size - corner) / extent, 0, 1)) for (row, _, _), place in lines]


def render(scene: Scene, pictures: PictureSet, quality: int = 88) -> bytes:
    """Draw and encode a scene."""
    return encode(draw(scene, pictures), scene.format, quality)


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


def _compose(scene: Scene, pictures: PictureSet, rng: np.random.Generator) -> Image.Image:
    """Put a drawing on a background, perhaps turned, perhaps on a plate."""
    assert scene.subject is not None
    canvas = _background(scene.width, scene.height, COLORS[scene.color], rng)
    side = min(scene.width, scene.height)
    size = int(side * rng.uniform(0.55, 0.95))
    drawing = pictures.picture(scene.subject, size)
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
    return canvas


def _photograph(scene: Scene, pictures: PictureSet, rng: np.random.Generator) -> Image.Image:
    """Crop and scale a photograph to the picture; into one of a very different shape it is put uncropped."""
    assert scene.subject is not None
    photo = pictures.picture(scene.subject, scene.width)
    if scene.whole:
        factor = scene.width / max(photo.size)
        return photo.resize((max(1, round(photo.width * factor)), max(1, round(photo.height * factor))), _BICUBIC)
    scale = min(photo.width / scene.width, photo.height / scene.height)  # photograph's pixels for one of the picture
    if max(photo.width / scene.width, photo.height / scene.height) > 2 * scale:
        canvas = _background(scene.width, scene.height, COLORS[scene.color], rng)
        factor = min(scene.width / photo.width, scene.height / photo.height)
        photo = photo.resize((max(1, int(photo.width * factor)), max(1, int(photo.height * factor))), _BICUBIC)
        free = scene.width - photo.width, scene.height - photo.height
        canvas.paste(photo, (int(free[0] * rng.random()), int(free[1] * rng.random())))
        return canvas
    scale *= float(rng.uniform(0.85, 1.0))
    wide, high = scene.width * scale, scene.height * scale
    left, top = (photo.width - wide) * rng.random(), (photo.height - high) * rng.random()
    return photo.resize((scene.width, scene.height), _BICUBIC, (left, top, left + wide, top + high))


_BICUBIC = Image.Resampling.BICUBIC


def _background(width: int, height: int, color: tuple[int, int, int], rng: np.random.Generator) -> Image.Image:
    """Paint a plain, graded or textured ground whose mean stays near `color`."""
    kind = str(rng.choice(list(BACKGROUNDS), p=list(BACKGROUNDS.values())))
    canvas = Image.new("RGB", (width, height), color)
    if kind == "plain":
        return canvas
    other = tuple(int(value) for value in np.clip(np.array(color) + rng.integers(-70, 71, size=3), 0, 255))
    if kind == "noise":
        mask = Image.fromarray(rng.integers(0, 256, size=(48, 48), dtype=np.uint8))
    elif kind == "clouds":
        mask = Image.fromarray(rng.integers(0, 256, size=(6, 6), dtype=np.uint8)).resize((48, 48), _BICUBIC)
    elif kind == "gradient":
        ramp = np.linspace(0, 255, 64)
        weight = rng.random()
        mask = Image.fromarray((weight * ramp[:, None] + (1 - weight) * ramp[None]).astype(np.uint8))
    elif kind == "spotlight":
        axis = np.linspace(-1, 1, 64) ** 2
        mask = Image.fromarray(np.clip(255 * (axis[:, None] + axis[None]) / 1.5, 0, 255).astype(np.uint8))
    elif kind == "horizon":
        edge = int(rng.integers(30, 54))
        column = np.concatenate([np.linspace(0, 90, edge), np.linspace(255, 170, 64 - edge)])
        mask = Image.fromarray(np.broadcast_to(column[:, None], (64, 64)).astype(np.uint8))
    elif kind == "bokeh":
        mask = Image.new("L", (96, 96))
        pen = ImageDraw.Draw(mask)
        for x, y, radius, tone in rng.random((9, 4)):
            spread = 4 + 14 * radius
            place = (96 * x - spread, 96 * y - spread, 96 * x + spread, 96 * y + spread)
            pen.ellipse(place, fill=int(60 + 150 * tone))
    else:
        index = np.arange(96) // int(rng.integers(4, 13)) % 2
        cells = index[:, None] ^ index[None] if kind == "checks" else np.broadcast_to(index[None], (96, 96))
        mask = Image.fromarray((cells * 200).astype(np.uint8))
    mask = mask.resize((width, height), Image.Resampling.BILINEAR)
    canvas.paste(Image.new("RGB", (width, height), other), (0, 0), mask)
    return canvas


def _spoil(image: Image.Image, defect: str, rng: np.random.Generator) -> Image.Image:
    """Blur a picture, compress it to blocks or take its contrast."""
    if defect == "blur":
        return image.filter(ImageFilter.GaussianBlur(min(image.size) * float(rng.uniform(0.012, 0.03))))
    if defect == "jpeg":
        return _saved(image, int(rng.integers(3, 11)))
    veil = Image.new("RGB", image.size, (int(rng.integers(60, 200)),) * 3)
    return Image.blend(veil, image, float(rng.uniform(0.12, 0.3)))


def _edited(image: Image.Image, edit: Edit) -> Image.Image:
    """Crop, scale, brighten and save a copy."""
    left, top, right, bottom = edit.crop
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    size = round((box[2] - box[0]) * edit.scale), round((box[3] - box[1]) * edit.scale)
    if size != image.size:
        image = image.resize(size, _BICUBIC, box)
    if edit.gain != 1:
        image = ImageEnhance.Brightness(image).enhance(edit.gain)
    return _saved(image, edit.quality)


def _saved(image: Image.Image, quality: int) -> Image.Image:
    """Return what is left of a picture that was saved as JPEG."""
    return Image.fromarray(simplejpeg.decode_jpeg(encode(image, "jpg", quality)))
