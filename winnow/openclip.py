"""Find an open_clip model by name or by a JSON file of its architecture."""

import pickle
from pathlib import Path
from typing import Any

from winnow.errors import UserError, unknown

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


def create_clip(model: str, pretrained: str | None = None) -> Any:
    """Build an open_clip model in float32 on the CPU, in eval mode.

    Args:
        model: an open_clip name ("ViT-B-32") or the path of a JSON architecture file.
        pretrained: an open_clip tag ("openai"), the path of a checkpoint, those that a training run keeps in
            `checkpoints/` included, or None for random weights.

    Raises:
        UserError: unknown model or tag, or the weights cannot be loaded.
    """
    import open_clip

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
    return built.eval()


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
