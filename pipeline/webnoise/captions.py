"""Wordings: alt-texts as the web writes them, tidy, wordy, short, foreign or junk."""

import numpy as np

from pipeline.webnoise.pictures import Picture

__all__ = ["caption", "clean_captions", "junk_caption"]

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
_PLAIN = (
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


def caption(picture: Picture, color: str, language: str, rng: np.random.Generator) -> str:
    """Return an alt-text for a picture.

    Args:
        picture: what the text speaks of.
        color: name of the background colour.
        language: "en" or a key of the picture's names.
        rng: the sample's own generator.
    """
    if language != "en":
        templates: tuple[str, ...] = _FOREIGN[language]
    else:
        kind = rng.choice(4, p=(0.35, 0.25, 0.3, 0.1))
        templates = (_WITH_COLOR, _WITH_GROUP, _PLAIN, ("{n}",))[kind]
    return _fill(str(rng.choice(templates)), picture.names[language], color, picture.group, rng)


def clean_captions(picture: Picture, color: str, count: int, rng: np.random.Generator) -> list[str]:
    """Return `count` different English wordings that all name the picture, most of them its group or colour too."""
    templates = (*_WITH_COLOR, *_WITH_GROUP, *_PLAIN[:2])
    chosen = rng.choice(len(templates), size=count, replace=False)
    return [_fill(templates[index], picture.name, color, picture.group, rng) for index in chosen]


def junk_caption(rng: np.random.Generator) -> str:
    """Return a text that says nothing about any picture."""
    return _fill(str(rng.choice(_JUNK)), "", "", "", rng)


def _fill(template: str, name: str, color: str, group: str, rng: np.random.Generator) -> str:
    """Fill a template, with "an" before a vowel."""
    text = template.format(n=name, c=color, g=group, d=int(rng.integers(1000, 10000)), y=int(rng.integers(2009, 2026)))
    if name and name[0].lower() in "aeio":
        text = text.replace(f"a {name}", f"an {name}")
    return text
