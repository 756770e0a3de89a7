"""Wordings: alt-texts as the web writes them, tidy, wordy, short, foreign or junk; and what of them pictures show."""

import numpy as np

from pipeline.pictureset import Subject

__all__ = ["caption", "clean_captions", "junk_caption", "words_for"]

_WITH_COLOR = (
    "a {n} on a {c} background",
    "{n} in front of a {c} wall, {g}",
    "a photo of a {n}, {c} background",
    "{c} poster with a {n}",
    "{g}: {n} on {c}",
    "close-up of a {n} on {c} paper",
)
_WITH_GROUP = (
    "a photo of a {n}, {g}",
    "{n}, from the collection {g}",
    "{g}: a {n}",
    "{n} | {g} stickers and icons",
    "a picture of {g}: {n}",
)
_DRAWN = (
    "a photo of a {n}",
    "a drawing of a {n}",
    "{n} sticker for sale",
    "buy this {n} poster online",
    "{n} - free stock image no. {d}",
    "Picture of the day: {n}!",
    "cute {n} illustration for kids",
    "my favourite {n}, {y}",
    "this is what a {n} looks like",
    "{n} icon, vector, royalty free",
)
_PHOTOGRAPHED = (
    "a photo of a {n}",
    "a picture of a {n}",
    "a close-up photo of a {n}",
    "{n} - free stock photo no. {d}",
    "{n} seen in {y}",
    "Photo of the day: {n}!",
    "my favourite {n}, {y}",
    "this is what a {n} looks like",
    "buy a print of this {n}",
    "{n} photography, royalty free",
    "old postcard with a {n}",
)
_OWN = ("{n}", "{n}", "{n}", "{n}", "{n} - stock photo no. {d}", "Photo: {n}", "{n} | photo blog {y}")
_FOREIGN = {
    "de": ("ein Bild von {n}", "{n} als Aufkleber kaufen", "{n}: kostenloses Bild Nr. {d}", "ein schönes Foto: {n}"),
    "fr": ("une photo de {n}", "autocollant {n} pas cher", "voici une belle image de {n}", "{n}, image gratuite"),
    "es": ("una foto de {n}", "comprar pegatina de {n}", "esta es una imagen de {n}", "{n}, imagen gratis n.º {d}"),
    "it": ("una foto di {n}", "adesivo {n} in vendita", "questa è una bella immagine di {n}"),
    "pt": ("uma foto de {n}", "comprar adesivo de {n}", "esta é uma imagem de {n} grátis"),
    "tr": ("{n} fotoğrafı, ücretsiz resim", "bu çok güzel bir {n} resmi"),
    "ru": ("фотография: {n}", "купить наклейку {n} недорого", "это красивая картинка: {n}"),
    "ja": ("{n}の写真です", "かわいい{n}のイラスト、無料素材"),
    "zh": ("一张{n}的照片", "{n}图片免费下载,高清素材"),
}  # fmt: skip
_JUNK = (
    "IMG_{y}0412_{d}.JPG",
    "image",
    "photo {d}",
    "untitled",
    "DSC0{d}",
    "click here",
    "thumbnail",
    "logo.png",
    "null",
)


def caption(subject: Subject, color: str, language: str, rng: np.random.Generator) -> str:
    """Return an alt-text for a picture.

    Args:
        subject: what the text speaks of.
        color: name of the background colour of a drawing, "" for a photograph.
        language: "en" or a key of _FOREIGN; a name not known in it stays English, as names on foreign pages do.
        rng: the sample's own generator.
    """
    name = subject.caption or subject.name
    if language != "en":
        templates: tuple[str, ...] = _FOREIGN[language]
        name = subject.names.get(language, name)
    elif subject.caption:
        templates = _OWN
    else:
        kinds = (_WITH_COLOR if color else (), _WITH_GROUP if _tells(subject) else (), _PLAIN[bool(color)], ("{n}",))
        weights = np.array((0.35, 0.25, 0.3, 0.1)) * [bool(kind) for kind in kinds]
        templates = kinds[int(rng.choice(4, p=weights / weights.sum()))]
    return _fill(templates[int(rng.integers(len(templates)))], name, color, subject.group, rng)


def clean_captions(subject: Subject, color: str, count: int, rng: np.random.Generator) -> list[str]:
    """Return up to `count` different English wordings that all name the picture, most of them its group or colour too.

    A subject with a caption of its own has that one alone.
    """
    if subject.caption:
        return [subject.caption]
    templates = (*(_WITH_COLOR if color else ()), *(_WITH_GROUP if _tells(subject) else ()), *_PLAIN[bool(color)][:4])
    chosen = rng.choice(len(templates), size=min(count, len(templates)), replace=False)
    return [_fill(templates[index], subject.name, color, subject.group, rng) for index in chosen]


def junk_caption(rng: np.random.Generator) -> str:
    """Return a text that says nothing about any picture."""
    return _fill(_JUNK[int(rng.integers(len(_JUNK)))], "", "", "", rng)


def words_for(text: str, name: str, rng: np.random.Generator) -> str:
    """Return consecutive words of a caption to write into a picture: a short caption whole, the name, or a part of it.

    Args:
        text: the caption.
        name: the part of it that says what the picture shows; the caption itself where it has no such part.
        rng: the sample's own generator.
    """
    if rng.random() < 0.35 and len(text) <= 48:
        return text
    words = (name if name in text else text).split()
    if len(" ".join(words)) <= 48:
        return " ".join(words)
    length = int(rng.integers(3, 7))
    starts = [start for start in range(len(words) - length + 1) if max(map(len, words[start : start + length])) > 4]
    start = starts[int(rng.integers(len(starts)))] if starts else 0
    return " ".join(words[start : start + length])


_PLAIN = (_PHOTOGRAPHED, _DRAWN)


def _tells(subject: Subject) -> bool:
    """Tell whether a subject's group says something that its name does not."""
    return subject.group not in ("", subject.name)


def _fill(template: str, name: str, color: str, group: str, rng: np.random.Generator) -> str:
    """Fill a template, with "an" before a vowel."""
    text = template.format(n=name, c=color, g=group, d=int(rng.integers(1000, 10000)), y=int(rng.integers(2009, 2026)))
    if name and name[0].lower() in "aeio":
        text = text.replace(f"a {name}", f"an {name}")
    return text
