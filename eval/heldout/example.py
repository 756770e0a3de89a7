"""One held-out picture, and what a set of them can tell: the shape that all layouts share."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from winnow.errors import UserError
from winnow.images import ImageError, decode_image, open_image, reasons

__all__ = ["Decode", "Example", "HeldOut", "fill", "has_place"]

Decode = Literal["viewer", "compat"]
"""How pictures and caption lines are read: as viewers show them, or with CLIP_benchmark's pixels and captions."""


@dataclass(frozen=True)
class Example:
    """A picture with its label or its captions."""

    key: str
    where: str
    """Shard and key, or file: what an error names."""
    image: bytes
    label: str | None = None
    """Class index as it was written, None without one."""
    captions: tuple[str, ...] = ()

    def pixels(self, decode: Decode) -> NDArray[np.uint8]:
        """Decode to (H, W, 3) uint8 RGB.

        Raises:
            UserError: the picture is damaged; a set without it would be another set.
        """
        try:
            if decode == "viewer":
                return decode_image(self.image)
            with reasons():
                return np.asarray(open_image(self.image).convert("RGB"))
        except ImageError as error:
            raise UserError(f"{self.where}: {error}; a test set is read whole or not at all") from None

    def class_index(self, num_classes: int) -> int:
        """Return the label.

        Raises:
            UserError: it is missing, no number, or beyond the classes.
        """
        text = self.label or ""
        if not (text.isascii() and text.isdigit()) or int(text) >= num_classes:
            raise UserError(f"{self.where}: member cls must hold a class index below {num_classes}, not {text!r}")
        return int(text)


class HeldOut(ABC):
    """A set of held-out pictures in one layout."""

    def __init__(self, path: str, decode: Decode) -> None:
        self.path = path
        self.decode = decode

    @abstractmethod
    def files(self) -> list[str]:
        """Return the full path of every file that is read."""

    @abstractmethod
    def kind(self) -> str:
        """Return "classification" for labels, "retrieval" for captions."""

    @abstractmethod
    def class_names(self) -> list[str]:
        """Return the name of each class, by index.

        Raises:
            UserError: the set does not say.
        """

    @abstractmethod
    def templates(self) -> list[str]:
        """Return the prompt templates, which hold {c}.

        Raises:
            UserError: the set does not say, and its layout knows no default.
        """

    @abstractmethod
    def examples(self) -> Iterator[Example]:
        """Yield the examples in an order that does not change.

        Raises:
            UserError: a file is damaged or holds an example without a picture.
        """

    def require(self, kind: str) -> None:
        """Refuse a set of another kind.

        Raises:
            UserError: labels are needed and it has captions, or the other way round.
        """
        if self.kind() != kind:
            other = {"classification": "retrieval", "retrieval": "zeroshot"}[kind]
            raise UserError(
                f"{self.path}: is a set for {self.kind()}, not for {kind} (a wds folder says so in dataset_type.txt); "
                f"use `{other}` for it"
            )

    def check_size(self, found: int, expected: int | None) -> None:
        """Refuse a test set that is not whole: a mean over a part of it would look like any other number.

        Raises:
            UserError: `found` samples were read where `expected` are promised, or none at all.
        """
        if found == 0 or (expected is not None and found != expected):
            promise = "at least one" if expected is None else str(expected)
            raise UserError(f"{self.path}: read {found} samples, expected {promise}; is the download complete?")


def fill(template: str, name: str) -> str:
    """Put a class name into a template: {c}, else {}; doubled braces stand for themselves, as Python formats them.

    Other braces, and those of the name, stay as they are.
    """
    place = "{c}" if "{c}" in template else "{}"
    words = {place: name, "{{": "{", "}}": "}"}
    return re.sub(r"\{\{|\}\}|" + re.escape(place), lambda match: words[match[0]], template)


def has_place(templates: Sequence[str]) -> bool:
    """Tell whether every template has a place for the class name, one at least being there."""
    return bool(templates) and all(fill(template, "a") != fill(template, "b") for template in templates)
