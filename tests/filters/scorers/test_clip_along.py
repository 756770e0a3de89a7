import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from filters.scorer import Batch
from filters.scorers.clip import Clip
from filters.scorers.clip_along import ClipAlong
from winnow.errors import UserError
from winnow.openclip import create_clip

TINY = "configs/models/winnow-tiny.json"
COMMON = {"model": TINY, "precision": "fp32", "threads": 1}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints with random weights; in the order of text the tenth would come before the second."""
    folder = tmp_path_factory.mktemp("snapshots")
    for number in (1, 2, 10):
        torch.manual_seed(number)
        torch.save(create_clip(TINY).state_dict(), folder / f"epoch_{number}.pt")
    return folder


def batch(pictures: list) -> Batch:
    n = len(pictures)
    return Batch(["0" * 32] * n, [f"picture {i}" for i in range(n)], [{}] * n, pictures)


def test_similarity_is_the_mean_of_separate_clip_scorers(snapshots: Path, pictures: list) -> None:
    scorer = ClipAlong(checkpoints=[str(snapshots / "*.pt")], **COMMON)
    scorer.setup()
    columns = scorer.score(batch(pictures))
    separate = []
    for number in (1, 2, 10):
        clip = Clip(pretrained=str(snapshots / f"epoch_{number}.pt"), **COMMON)
        separate.append(clip.score(batch(pictures))["similarity"])
    np.testing.assert_allclose(columns["similarity"], np.mean(separate, axis=0), atol=1e-6)
    np.testing.assert_allclose(columns["similarity_std"], np.std(separate, axis=0), atol=1e-6)
    assert columns["similarity"].dtype == columns["similarity_std"].dtype == np.float32
    assert (columns["similarity_std"] > 1e-4).all()


def test_identity_is_over_the_checkpoints_in_order(snapshots: Path) -> None:
    paths = [str(snapshots / f"epoch_{number}.pt") for number in (1, 2, 10)]
    globbed = ClipAlong(checkpoints=[str(snapshots / "*.pt")], **COMMON).identity()
    listed = ClipAlong(checkpoints=paths, **COMMON).identity()
    turned = ClipAlong(checkpoints=paths[::-1], **COMMON).identity()
    assert globbed == listed
    assert listed["snapshots"] == "3"
    assert listed["weights"] != turned["weights"]
    each = " ".join(Clip(pretrained=path, **COMMON).identity()["weights"] for path in paths)
    assert listed["weights"] == hashlib.sha256(each.encode()).hexdigest()


def test_a_pattern_of_no_file_is_an_error(snapshots: Path) -> None:
    scorer = ClipAlong(checkpoints=[str(snapshots / "epoch_1.pt"), str(snapshots / "step_*.pt")], **COMMON)
    with pytest.raises(UserError, match=r"no checkpoint at '.*step_\*\.pt'"):
        scorer.identity()
