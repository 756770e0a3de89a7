"""Write a picture's EXIF data as a JSON string, as img2dataset does, but never where it was taken."""

import json

from PIL import ExifTags, Image

__all__ = ["exif_json"]

_DIRECTORIES = {"EXIF": ExifTags.IFD.Exif, "Interoperability": ExifTags.IFD.Interop}
_POINTERS = frozenset((int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo), int(ExifTags.IFD.Interop), 0x927C))


def exif_json(image: Image.Image) -> str:
    """Return "{}" or the tags by name: {"Image Make": "...", "EXIF DateTimeOriginal": "..."}.

    The GPS directory and the maker's note (opaque, may repeat the position) are left out.

    Args:
        image: as opened; its pixels are not looked at.
    """
    try:
        exif = image.getexif()
        if not exif:
            return "{}"
        found = {"Image": dict(exif)} | {name: exif.get_ifd(tag) for name, tag in _DIRECTORIES.items()}
    except Exception:  # Pillow's parser raises whatever it stumbles over
        return "{}"  # the picture itself is fine; a broken block of remarks is no reason to lose it
    tags = {
        f"{directory} {ExifTags.TAGS.get(tag, f'Tag 0x{tag:04X}')}": str(value).strip("\0 ")
        for directory, values in found.items()
        for tag, value in values.items()
        if tag not in _POINTERS and not isinstance(value, bytes)
    }
    return json.dumps(dict(sorted(tags.items())))
