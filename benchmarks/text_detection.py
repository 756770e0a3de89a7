"""How fast text detectors are and how much text they find, beside `easyocr.Reader.detect` on the same pictures.

Pictures are real photographs (a parquet file with encoded pictures) or, without any, OpenMoji drawings; lines of text
of known outline are rendered onto them: many fonts, sizes from 9 pixels to a third of the picture, colours, plates,
outlines, rotation. A second set of photographs stays as it is: what is found there is a false alarm or text that the
photographer saw.

Recall of lines: a detection and a true line belong together if they share half of the smaller one's area. A group
that is connected in this way counts as found if its detections and its lines, each taken as one area, overlap with an
intersection over union of 0.5: detectors may split or join words and lines. Recall of area: share of all true text
pixels that lie under a detection. Wrong area: share of all other pixels that do.

    python benchmarks/text_detection.py --images pictures.parquet
    python benchmarks/text_detection.py --num-images 40 --repeats 3
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.drawings import emoji
from filters.models.compute import cpu_threads
from filters.models.easyocr_reader import open_reader
from filters.text.detectors.craft import CRAFT
from filters.text.detectors.ppocr import PPOCR
from winnow.images import decode_image

Picture = NDArray[np.uint8]
Boxes = list[NDArray[np.float32]]
Masks = list[NDArray[np.bool_]]

WORDS = (  # noqa: SIM905
    "summer sale open fresh coffee garden house 50% today free delivery vintage the red of bicycle and Nikon 2019 "
    "photo stock happy birthday with love New York city best price www.shop.com travel beach hotel Paris limited "
    "edition wooden table music festival call 555-0142 recipe chicken soup award winning album kids shoes blue"
).split()


@dataclass(frozen=True)
class Sample:
    """A picture and the outlines (4, 2) of the lines of text that were rendered onto it."""

    image: Picture
    lines: Boxes


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="parquet file with encoded pictures; default: rendered OpenMoji")
    parser.add_argument("--column", default="image", help="its column of bytes")
    parser.add_argument("--num-images", type=int, default=24, help="pictures with text; as many without")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs over a quarter of the pictures")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of all; 0: all cores")
    args = parser.parse_args()

    threads = cpu_threads(args.threads)
    torch.set_num_threads(threads)
    pictures = photographs(args.images, args.column, 2 * args.num_images)
    rng = np.random.default_rng(0)
    samples = [with_text(picture, rng) for picture in pictures[::2]]
    plain = pictures[1::2]
    detectors: dict[str, Callable[[Sequence[Picture]], list[Boxes]]] = {"easyocr.Reader.detect": easyocr_detect()}
    for name, detector in {
        "craft fp32": CRAFT(precision="fp32", threads=threads),
        "craft auto": CRAFT(threads=threads),
        "ppocr": PPOCR(threads=threads),
    }.items():
        detector.setup()
        if name == "craft auto" and detector.identity()["precision"] == "fp32":
            continue  # this machine has no faster precision: the same detector again
        detectors[name] = detector.detect_batch

    print(f"{len(samples)} pictures with text, {len(plain)} without, {threads} threads, {len(fonts())} fonts")
    times = timed(detectors, [sample.image for sample in samples[: max(4, len(samples) // 4)]], args.repeats)
    reference: list[Boxes] = []
    for name, detect in detectors.items():
        found, alarms = detect([sample.image for sample in samples]), detect(plain)
        reference = reference or found
        report(name, times, samples, found, plain, alarms, reference)


def report(
    name: str,
    times: dict[str, list[float]],
    samples: Sequence[Sample],
    found: Sequence[Boxes],
    plain: Sequence[Picture],
    alarms: Sequence[Boxes],
    reference: Sequence[Boxes],
) -> None:
    """Print one detector: time and its ratio, recalls, false alarms, how many of EasyOCR's boxes it gives exactly."""
    ratio = statistics.median(a / b for a, b in zip(next(iter(times.values())), times[name], strict=True))
    lines = [recalled(sample, boxes) for sample, boxes in zip(samples, found, strict=True)]
    text, covered = (
        [union(sample.image, boxes) for sample, boxes in zip(samples, each, strict=True)]
        for each in ([sample.lines for sample in samples], found)
    )
    hit, num_text = (sum(int(m.sum()) for m in masks) for masks in (both(text, covered), text))
    wrong = sum(int((c & ~t).sum()) for t, c in zip(text, covered, strict=True))
    num_other = sum(int((~t).sum()) for t in text)
    area = np.mean([union(image, boxes).mean() for image, boxes in zip(plain, alarms, strict=True)])
    same = [equal(ours, theirs) for ours, theirs in zip(found, reference, strict=True)]
    print(
        f"{name:>22}: {1e3 * statistics.median(times[name]):6.0f} ms/picture, {ratio:5.1f}x; "
        f"lines {100 * np.mean(np.concatenate(lines)):5.1f}%, area {100 * hit / num_text:5.1f}%, "
        f"wrong area {100 * wrong / num_other:4.2f}%; without text: boxes in "
        f"{100 * np.mean([bool(boxes) for boxes in alarms]):3.0f}% of pictures, {100 * area:4.2f}% of area; "
        f"EasyOCR's very boxes in {sum(same)}/{len(same)}"
    )


def timed(
    detectors: dict[str, Callable[[Sequence[Picture]], list[Boxes]]], images: Sequence[Picture], repeats: int
) -> dict[str, list[float]]:
    """Return the seconds per picture of each detector in alternating runs."""
    for detect in detectors.values():
        detect(images[:2])  # warm up
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for _ in range(repeats):
        for name, detect in detectors.items():
            start = time.perf_counter()
            detect(images)
            times[name].append((time.perf_counter() - start) / len(images))
    return times


def easyocr_detect() -> Callable[[Sequence[Picture]], list[Boxes]]:
    """Return EasyOCR's own detection, one picture at a time."""
    reader = open_reader(detector=True, recogniser=False)

    def detect(images: Sequence[Picture]) -> list[Boxes]:
        out = []
        for image in images:
            straight, tilted = reader.detect(image)
            boxes = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, x1, y0, y1 in straight[0]] + list(tilted[0])
            out.append([np.asarray(box, np.float32) for box in boxes])
        return out

    return detect


def recalled(sample: Sample, boxes: Boxes) -> NDArray[np.bool_]:
    """Return (m,) which of the m true lines are found, see the module's rule."""
    lines = [union(sample.image, [line]) for line in sample.lines]
    found = [union(sample.image, [box]) for box in boxes]
    group = list(range(len(lines) + len(found)))  # group[k]: the group of line k or, after the lines, detection k
    for i, line in enumerate(lines):
        for j, box in enumerate(found, start=len(lines)):
            if (line & box).sum() >= 0.5 * max(1, min(line.sum(), box.sum())):
                group = [group[i] if g == group[j] else g for g in group]
    out = np.zeros(len(lines), bool)
    for number in set(group[: len(lines)]):
        text = [mask for mask, g in zip(lines, group, strict=False) if g == number]
        covered = [mask for mask, g in zip(found, group[len(lines) :], strict=True) if g == number]
        if covered:
            one, other = np.logical_or.reduce(text), np.logical_or.reduce(covered)
            out[np.array(group[: len(lines)]) == number] = (one & other).sum() >= 0.5 * (one | other).sum()
    return out


def union(image: Picture, boxes: Boxes) -> NDArray[np.bool_]:
    """Return the (H, W) mask of the pixels under any of the outlines."""
    mask = np.zeros(image.shape[:2], np.uint8)
    for box in boxes:
        cv2.fillPoly(mask, [np.round(box).astype(np.int32)], 1)
    return mask.astype(bool)


def both(first: Masks, second: Masks) -> Masks:
    """Return the intersections of masks, pair by pair."""
    return [a & b for a, b in zip(first, second, strict=True)]


def equal(ours: Boxes, theirs: Boxes) -> bool:
    """Tell whether two sets of boxes are the same within a pixel."""
    return len(ours) == len(theirs) and all(np.abs(a - b).max() <= 1 for a, b in zip(ours, theirs, strict=True))


def with_text(picture: Picture, rng: np.random.Generator) -> Sample:
    """Render one to three lines of text that do not touch each other."""
    image, lines = Image.fromarray(picture), list[NDArray[np.float32]]()
    taken = np.zeros(picture.shape[:2], bool)
    for _ in range(int(rng.integers(1, 4))):
        for _ in range(20):  # places tried
            layer, outline = _line(image.size, np.asarray(image), rng)
            mask = union(picture, [outline])
            inside = (outline >= 0).all() and (outline <= (picture.shape[1], picture.shape[0])).all()
            if (
                inside
                and not (cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool) & taken).any()
            ):
                image.paste(layer, (0, 0), layer)
                taken |= mask
                lines.append(outline)
                break
    return Sample(np.asarray(image), lines)


def _line(size: tuple[int, int], picture: Picture, rng: np.random.Generator) -> tuple[Image.Image, NDArray[np.float32]]:
    """Draw one line of text on a transparent layer of the picture's size; return it and the outline of its ink."""
    words = " ".join(rng.choice(WORDS, int(rng.integers(1, 5))))
    words = [words, words.upper(), words.title()][int(rng.integers(3))]
    height = float(np.exp(rng.uniform(np.log(9), np.log(min(size) / 3))))
    font = ImageFont.truetype(str(rng.choice([str(path) for path in fonts()])), max(8, round(height)))
    stroke = int(rng.random() < 0.25) * max(1, round(height / 15))
    left, top, right, bottom = font.getbbox(words, stroke_width=stroke)
    x, y = (
        rng.uniform(0, max(1, side - length)) for side, length in zip(size, (right - left, bottom - top), strict=True)
    )
    under = picture[int(y) : int(y + bottom - top) + 1, int(x) : int(x + right - left) + 1].reshape(-1, 3).mean(axis=0)
    ground = tuple(int(v) for v in (rng.integers(0, 256, 3) if rng.random() < 0.2 else under))
    ink = next(c for c in rng.integers(0, 256, (1000, 3)) if abs(_light(c) - _light(ground)) > 70)
    layer = Image.new("RGBA", size)
    draw = ImageDraw.Draw(layer)
    if tuple(ground) != tuple(int(v) for v in under):  # a plate behind the text
        draw.rectangle((x - 3, y - 3, x + right - left + 3, y + bottom - top + 3), fill=(*ground, 255))
    edge = (0, 0, 0) if _light(ink) > 127 else (255, 255, 255)
    place, colour = (x - left, y - top), tuple(int(v) for v in ink)
    draw.text(place, words, font=font, fill=(*colour, 255), stroke_width=stroke, stroke_fill=(*edge, 255))
    outline = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * (right - left, bottom - top) + (x, y)
    angle = float(rng.uniform(-30, 30)) if rng.random() < 0.3 else 0.0
    centre = outline.mean(axis=0)
    turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, 1.0)
    layer = layer.rotate(angle, Image.Resampling.BICUBIC, center=tuple(centre))
    return layer, np.asarray(outline @ turn[:, :2].T + turn[:, 2], np.float32)


def _light(colour: Any) -> float:
    """Return the luma of an RGB colour, 0 to 255."""
    return float(np.dot(np.asarray(colour, float), (0.299, 0.587, 0.114)))


def fonts() -> list[Path]:
    """Return the text fonts that come with matplotlib, and the system's."""
    import matplotlib

    own = (Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVu*.ttf")
    return sorted(own) + sorted(path for path in Path("/usr/share/fonts").rglob("Liberation*.ttf"))


def photographs(path: Path | None, column: str, num: int) -> list[Picture]:
    """Return pictures, spread evenly over the file; OpenMoji drawings where no file is given."""
    if path is None:
        return [decode_image(data) for data in emoji(num)]
    import pyarrow.parquet as pq

    data = pq.read_table(path, columns=[column])[column]
    rows = np.linspace(0, len(data) - 1, num).round().astype(int)
    return [decode_image(data[int(row)].as_py()) for row in rows]


if __name__ == "__main__":
    main()
