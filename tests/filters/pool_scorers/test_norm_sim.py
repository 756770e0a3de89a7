from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters.pool_scorers.norm_sim import NormSim
from filters.strategy import Columns
from winnow.component import build
from winnow.errors import UserError


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target.npy"
    np.save(path, np.random.default_rng(3).standard_normal((50, 16)).astype(np.float16))
    return path


@pytest.mark.parametrize("p", [0.5, 1, 2, 3, "inf"])
def test_the_norm_of_all_similarities(pool: Columns, unit: Callable[..., Any], target: Path, p: Any) -> None:
    products = unit(pool["clip.image_embedding"]) @ unit(np.load(target)).T
    expected = products.max(1) if p == "inf" else (np.abs(products) ** p).sum(1) ** (1 / p)
    found = NormSim(target=str(target), p=p).score(pool).columns["score"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_with_p_2_the_order_is_that_of_the_variance_alignment_score(
    pool: Columns, unit: Callable[..., Any], target: Path
) -> None:
    x, t = unit(pool["clip.image_embedding"]), unit(np.load(target))
    covariance = np.mean([np.outer(row, row) for row in t], axis=0)
    vas = np.array([row @ covariance @ row for row in x])
    found = NormSim(target=str(target)).score(pool).columns["score"]
    np.testing.assert_allclose(found.astype(np.float64) ** 2 / len(t), vas, rtol=1e-5)


def test_the_pool_can_be_its_own_target(pool: Columns, unit: Callable[..., Any], cut: Callable[..., Any]) -> None:
    x = unit(pool["clip.image_embedding"])
    parts = cut(pool, np.arange(300), (100, 250))
    np.testing.assert_allclose(NormSim().score(parts).columns["score"], np.linalg.norm(x @ x.T, axis=1), rtol=1e-5)


def test_mistakes_are_named(pool: Columns, target: Path, tmp_path: Path) -> None:
    def made(**fields: Any) -> Any:
        return build("filters.pool_scorers", fields, "norm_sim", "relate.scorers")

    assert made(target=str(target), p=float("inf")) == made(target=str(target), p="inf")
    assert made(target="pool") == made()
    with pytest.raises(UserError, match="the target `pool` goes with `p: 2`"):
        made(p="inf")
    with pytest.raises(UserError, match="greater than 0"):
        made(target=str(target), p=-1)
    with pytest.raises(UserError, match="both `model` and `pretrained`"):
        made(target={"path": str(target), "model": "ViT-B-32"})
    np.save(tmp_path / "wide.npy", np.ones((3, 17), np.float32))
    with pytest.raises(UserError, match=r"are of 17 numbers, 'clip\.image_embedding' is of 16"):
        made(target=str(tmp_path / "wide.npy"), p=1).score(pool)
    with pytest.raises(UserError, match="no such file"):
        made(target=str(tmp_path / "none.npy")).identity()
