"""Find an open_clip model by name or by a JSON file of its architecture, with the preprocessing its weights expect."""

import json
import pickle
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from winnow.errors import UserError, unknown
from winnow.packaged import PACKAGED, packaged_weights
from winnow.tensors import check_archive, load_tensors

__all__ = ["CONFIG_NAME", "PREPROCESSING", "create_clip", "model_name", "preprocessing"]

CONFIG_NAME = "open_clip_config.json"
"""What open_clip looks for in a folder: `{model_cfg, preprocess_cfg}`."""
PREPROCESSING = ("mode", "mean", "std", "interpolation", "resize_mode", "fill_color")
"""Keys of `preprocess_cfg` that belong to weights; the size belongs to the architecture."""


def model_name(model: str) -> str:
    """Return the open_clip name of `model`, registering the architecture first when it is a path to a JSON file.

    The name of an `open_clip_config.json`, which holds an architecture and a preprocessing, is its folder's:
    "local-dir:FOLDER".

    Raises:
        UserError: no such file, no such model, or a built-in model of another architecture has the file's name.
    """
    import open_clip

    if not model.endswith(".json"):
        if model not in open_clip.list_models():
            raise unknown("open_clip model", model, open_clip.list_models())
        return model
    path = Path(model)
    if not path.is_file():
        raise UserError(f"no model config at {model!r}; give an open_clip name or the path of a JSON architecture file")
    if path.name == CONFIG_NAME:
        return f"local-dir:{path.parent}"
    built_in = _built_in(path.stem)
    if built_in is not None and json.loads(path.read_text(encoding="utf-8")) != built_in:
        raise UserError(
            f"{model!r} has the name of open_clip's own {path.stem}, but is another architecture: each would be taken "
            f"for the other; give the file a name of its own, for example my-{path.name}"
        )
    open_clip.add_model_config(path)
    return path.stem


@cache
def _built_in(name: str) -> Any:
    """Return the architecture that comes with open_clip under a name, None where there is none."""
    import open_clip

    path = Path(open_clip.__file__).parent / "model_configs" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def create_clip(model: str, pretrained: str | None = None, pretrained_image: str | None = None) -> Any:
    """Build an open_clip model in float32 on the CPU, in eval mode; convolutional towers keep channels last.

    Its `visual.preprocess_cfg` is that of the weights: the tag's, or what a training run wrote beside its weights.

    Args:
        model: an open_clip name ("ViT-B-32"), the path of a JSON architecture file or of an `open_clip_config.json`.
        pretrained: an open_clip tag ("openai"), the path of a checkpoint, those that a training run keeps in
            `checkpoints/` included, or None for random weights.
        pretrained_image: weights of the image tower alone, loaded after the others: one of `winnow.packaged.PACKAGED`
            or the path of a state dict, of a timm model or of the tower.

    Raises:
        UserError: unknown model or tag, or the weights cannot be loaded or are damaged.
    """
    import open_clip
    import torch

    name = model_name(model)
    tags = open_clip.list_pretrained_tags_by_model(name)
    path = Path(pretrained) if pretrained and pretrained not in tags else None
    if path is not None and not path.is_file():
        known = ", ".join(tags) or "none"
        raise UserError(f"no weights {pretrained!r} for {name}: there is no such file, and its tags are: {known}")
    state = None if path is None else _run_state(path)
    built = open_clip.create_model(
        name,
        pretrained=None if path is not None else pretrained,
        load_weights=pretrained is not None and path is None,  # a folder's own are not wanted with its architecture
        pretrained_text=path is None,  # a text tower from the hub would be overwritten
        precision="fp32",
        device="cpu",
        force_preprocess_cfg=None if path is None else preprocessing(path, state),
    )
    if path is not None:
        _load(built, path, state, name)
    if pretrained_image:
        _load_image_tower(built.visual, pretrained_image, name)
    if sum(isinstance(module, torch.nn.Conv2d) for module in built.visual.modules()) > 1:  # a ViT has one, for patches
        built.visual.to(memory_format=torch.channels_last)  # half as fast again on a CPU
    return built.eval()


def _load_image_tower(tower: Any, source: str, name: str) -> None:
    """Load the weights of an image tower; a classifier, which the tower has not, is left out.

    Raises:
        UserError: no such weights, or they are of another architecture.
    """
    if source not in PACKAGED and not Path(source).is_file():
        known = ", ".join(PACKAGED)
        raise UserError(f"no image weights {source!r}: there is no such file, and the packaged ones are: {known}")
    state = packaged_weights(source) if source in PACKAGED else load_tensors(Path(source))
    wanted = getattr(tower, "trunk", tower).state_dict()
    state = {key.removeprefix("trunk."): value for key, value in state.items()}
    wrong = [key for key, value in wanted.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise UserError(
            f"the image weights {source!r} do not fit {name}: {len(wrong)} of its {len(wanted)} tensors are missing or "
            f"of another shape, the first {wrong[0]!r}"
        )
    getattr(tower, "trunk", tower).load_state_dict({key: state[key] for key in wanted})


def _load(model: Any, path: Path, state: dict[str, Any] | None, name: str) -> None:
    """Load a checkpoint of a training run, `state`, or any file that open_clip can read.

    Raises:
        UserError: it is of another architecture.
    """
    import open_clip

    try:
        if state is None:
            open_clip.load_checkpoint(model, str(path))
            return
        prefix = "model."
        weights = {key.removeprefix(prefix): value for key, value in state["system"].items() if key.startswith(prefix)}
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the weights {str(path)!r} are of another architecture than {name}: {error}") from error


def preprocessing(weights: Path, state: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the preprocessing that a file of weights was trained with, as keys of open_clip's `preprocess_cfg`.

    It is in a checkpoint itself, or in the `open_clip_config.json` of the folder of model.pt and snapshots/. Folders
    older than that file have a config.yaml that says what the run started from. {} means open_clip's defaults.

    Args:
        weights: the file.
        state: its content where it is a checkpoint of a training run.
    """
    folder = weights.parent.parent if weights.parent.name in ("checkpoints", "snapshots") else weights.parent
    found: dict[str, Any] = {}
    if (folder / CONFIG_NAME).is_file():
        found = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8")).get("preprocess_cfg", {})
    elif state is not None and state.get("about"):
        found = state["about"]["preprocess_cfg"]
    elif (folder / "config.yaml").is_file():
        return _of_origin(folder / "config.yaml")
    return {key: found[key] for key in PREPROCESSING if found.get(key) is not None}


def _of_origin(config: Path) -> dict[str, Any]:
    """Return the preprocessing of what a run started from, by the run's config.yaml."""
    import open_clip
    import yaml

    document = yaml.safe_load(config.read_text(encoding="utf-8"))
    system = document.get("system") if isinstance(document, dict) else None
    start = system.get("pretrained") if isinstance(system, dict) else None
    if not isinstance(start, str):
        return {}
    if Path(start).is_file():
        return preprocessing(Path(start), _run_state(Path(start)))
    model = Path(str(document["system"].get("model"))).name.removesuffix(".json")
    tag = open_clip.get_pretrained_cfg(model, start) or {}
    return {key: tag[key] for key in PREPROCESSING if tag.get(key) is not None}


def _run_state(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint of a training run, None for any other file.

    Raises:
        DamagedError: its checksum is wrong.
    """
    import torch

    check_archive(path)

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        return None  # safetensors, TorchScript: open_clip's own loader knows or says why not
    return state if isinstance(state, dict) and isinstance(state.get("system"), dict) else None
