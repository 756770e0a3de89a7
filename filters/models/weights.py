"""Which weights a model scorer computes with: hashes of files, names of published ones."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from winnow.errors import UserError

__all__ = ["file_sha256", "natural_key", "weights_identity"]


def weights_identity(model: str, pretrained: str) -> str:
    """Return "sha256:..." of a checkpoint file (and of a JSON architecture), or "model@tag"."""
    architecture = f"+sha256:{file_sha256(Path(model))}" if model.endswith(".json") and Path(model).is_file() else ""
    path = Path(pretrained)
    if path.is_file():
        return f"sha256:{file_sha256(path)}{architecture}"
    if path.suffix or len(path.parts) > 1:
        raise UserError(
            f"no CLIP checkpoint at {pretrained!r}: the stage `filternet` trains one (`winnow filternet CONFIG`), "
            "or set the scorer's `pretrained` to an existing file or an open_clip tag such as 'openai'"
        )
    if model.endswith(".json"):
        raise UserError(
            f"the model {model!r} is a file, for which there are no published weights: `pretrained` is {pretrained!r}, "
            "which is no file; set it to a checkpoint; the stage `filternet` trains one, RUN/filternet/NAME/model.pt"
        )
    import open_clip

    from winnow.openclip import model_name

    name = model_name(model)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags:
        raise UserError(
            f"no weights {pretrained!r} for {name}: neither a file nor one of {', '.join(tags) or 'no tags'}"
        )
    # open_clip only warns, and the similarities are then wrong by a few hundredths
    quick = bool(open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu", False))
    if quick != bool((open_clip.get_model_config(name) or {}).get("quick_gelu", False)):
        other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
        raise UserError(
            f"the weights {pretrained!r} were trained with{'' if quick else 'out'} QuickGELU, unlike the architecture "
            f"{name}; use model {other!r}"
        )
    return f"{name}@{pretrained}"


def file_sha256(path: Path) -> str:
    """Return a file's hash; one reading serves all calls while the file stays as it is."""
    state = path.stat()
    return _sha256_of(str(path), state.st_size, state.st_mtime_ns)


def natural_key(name: str) -> tuple[Any, ...]:
    """Return the sorting key by which epoch_2.pt comes before epoch_10.pt, and layers.2 before layers.10."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name))


@lru_cache(maxsize=256)
def _sha256_of(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
