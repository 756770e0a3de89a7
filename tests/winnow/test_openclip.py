from pathlib import Path

import pytest
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
