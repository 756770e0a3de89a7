"""Find an open_clip model by name or by a JSON file of its architecture."""

import pickle
from pathlib import Path
from typing import Any

from winnow.errors import UserError, unknown
from winnow.packaged import PACKAGED, packaged_weights

__all__ = ["create_clip", "model_name"]


def model_name(model: str) -> str:
    """Return the open_clip name of `model`, registering the architecture first when it is a path to a JSON file.

    Raises:
        UserError: no such file, no such model, or another architecture already has the file's name.
    """
    import open_clip

    if not model.endswith(".json"):
        if model not in open_clip.list_models():
            raise unknown("open_clip model", model, open_clip.list_models())
        return model
    path = Path(model)
    if not path.is_file():
        raise UserError(f"no model config at {model!r}; give an open_clip name or the path of a JSON architecture file")
    open_clip.add_model_config(path)
    return path.stem


def create_clip(model: str, pretrained: str | None = None, pretrained_image: str | None = None) -> Any:
    """Build an open_clip model in float32 on the CPU, in eval mode; convolutional towers keep channels last.

    Args:
        model: an open_clip name ("ViT-B-32") or the path of a JSON architecture file.
        pretrained: an open_clip tag ("openai"), the path of a checkpoint, those that a training run keeps in
            `checkpoints/` included, or None for random weights.
        pretrained_image: weights of the image tower alone, loaded after the others: one of `winnow.packaged.PACKAGED`
            or the path of a state dict, of a timm model or of the tower.

    Raises:
        UserError: unknown model or tag, or the weights cannot be loaded.
    """
    import open_clip
    import torch

    name = model_name(model)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained and pretrained not in tags and not Path(pretrained).is_file():
        known = ", ".join(tags) or "none"
        raise UserError(f"no weights {pretrained!r} for {name}: there is no such file, and its tags are: {known}")
    weights = _snapshot(Path(pretrained)) if pretrained and pretrained not in tags else None
    source = pretrained if weights is None else None
    built = open_clip.create_model(name, pretrained=source, precision="fp32", device="cpu")
    if weights is not None:
        try:
            built.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                f"the training run of {pretrained!r} has another architecture than {name}: {error}"
            ) from error
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
    import torch

    if source not in PACKAGED and not Path(source).is_file():
        known = ", ".join(PACKAGED)
        raise UserError(f"no image weights {source!r}: there is no such file, and the packaged ones are: {known}")
    try:
        state = packaged_weights(source) if source in PACKAGED else torch.load(source, "cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"{source!r} is no state dict of tensors: {error}") from error
    wanted = getattr(tower, "trunk", tower).state_dict()
    state = {key.removeprefix("trunk."): value for key, value in state.items()}
    wrong = [key for key, value in wanted.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise UserError(
            f"the image weights {source!r} do not fit {name}: {len(wrong)} of its {len(wanted)} tensors are missing or "
            f"of another shape, the first {wrong[0]!r}"
        )
    getattr(tower, "trunk", tower).load_state_dict({key: state[key] for key in wanted})


def _snapshot(path: Path) -> dict[str, Any] | None:
    """Return the model's weights in a checkpoint of a training run, None for any other file."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError):
        return None  # safetensors, TorchScript: open_clip's own loader knows or says why not
    system = state.get("system") if isinstance(state, dict) else None
    if not isinstance(system, dict):
        return None
    return {name.removeprefix("model."): value for name, value in system.items() if name.startswith("model.")}
