"""Against hyperbolic trigonometry: the law of cosines in a plane through the origin needs no hyperboloid."""

from collections.abc import Callable
from math import acos, acosh, asin, cosh, isclose, pi, sinh, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters.pool_scorers.hyperbolic import Hyperbolic
from filters.strategy import Columns
from filters.subset import draw
from winnow.errors import UserError


def apart(u: Any, v: Any, k: float) -> float:
    """Distance of two points, given the vectors that lead to them from the origin; k is the root of the curvature."""
    a, b = k * np.linalg.norm(u), k * np.linalg.norm(v)
    angle = float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    return acosh(max(1, cosh(a) * cosh(b) - sinh(a) * sinh(b) * angle)) / k


def outside(apex: Any, point: Any, k: float) -> float:
    """Exterior angle at the apex of the triangle with the origin and the point, less the cone's half-aperture."""
    a, b, c = k * np.linalg.norm(apex), k * apart(apex, point, k), k * np.linalg.norm(point)
    interior = acos(min(1, max(-1, (cosh(a) * cosh(b) - cosh(c)) / (sinh(a) * sinh(b)))))
    return pi - interior - asin(min(1, 2 * 0.1 / sinh(a)))


@pytest.mark.parametrize("curvature", [0.1, 1.0, 2.5])
def test_against_trigonometry(pool: Columns, curvature: float) -> None:
    pool = pool.take(slice(0, 40))
    k = sqrt(curvature)
    images, texts = (
        np.float64(pool[f"clip.{name}_embedding"]) / 4 for name in ("image", "text")
    )  # lengths from about 0.5 to 2
    scaled = Columns(pool.uids, {"clip.image_embedding": images, "clip.text_embedding": texts})
    found = Hyperbolic(curvature=curvature, num_references=12).score(scaled).columns
    drawn = np.flatnonzero(draw(pool.uids, 12))
    for row in range(40):
        # a picture beside its own caption is a reference like any other
        image = np.mean([outside(texts[j], images[row], k) for j in drawn])
        text = np.mean([outside(texts[row], images[j], k) for j in drawn])
        assert isclose(found["image_specificity"][row], image, abs_tol=1e-5)
        assert isclose(found["text_specificity"][row], text, abs_tol=1e-5)
        assert isclose(found["negative_distance"][row], -apart(images[row], texts[row], k), rel_tol=1e-5)


def test_points_on_one_ray(pool: Columns) -> None:
    """Behind an apex all is in its cone, towards the origin nothing is; the length of a vector is its distance."""
    ray = np.eye(1, 16)
    vectors = np.concatenate([0.5 * ray, 1.5 * ray])
    two = Columns(pool.uids[:2], {"clip.image_embedding": vectors[::-1].copy(), "clip.text_embedding": vectors})
    found = Hyperbolic().score(two).columns
    near, far = (asin(0.2 / sinh(length)) for length in (0.5, 1.5))
    np.testing.assert_allclose(found["negative_distance"], [-1.0, -1.0], rtol=1e-6)
    # the far picture is in both cones (the angle to itself is given a right angle), the near one in none but its own
    np.testing.assert_allclose(found["image_specificity"][0], (-near + pi / 2 - far) / 2, atol=1e-5)
    np.testing.assert_allclose(found["text_specificity"][0], (-near + pi / 2 - near) / 2, atol=1e-5)
    np.testing.assert_allclose(found["image_specificity"][1], (pi / 2 - near + pi - far) / 2, atol=1e-5)


def test_a_caption_is_more_specific_the_farther_out_it_lies(pool: Columns) -> None:
    texts = np.float64(pool["clip.text_embedding"])
    direction = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    images = np.float64(pool["clip.image_embedding"]) / 4
    means = []
    for length in (0.3, 0.6, 1.2, 2.4):
        columns = {"clip.image_embedding": images, "clip.text_embedding": length * direction}
        means.append(Hyperbolic().score(Columns(pool.uids, columns)).columns["text_specificity"].mean())
    assert means == sorted(means)


def test_references_of_files(pool: Columns, tmp_path: Path) -> None:
    rows = draw(pool.uids, 50)
    for name in ("image", "text"):
        np.save(tmp_path / f"{name}.npy", pool[f"clip.{name}_embedding"][rows])
    given = Hyperbolic(image_references=str(tmp_path / "image.npy"), text_references=str(tmp_path / "text.npy"))
    drawn = Hyperbolic(num_references=50)
    for name, values in drawn.score(pool).columns.items():
        np.testing.assert_array_equal(given.score(pool).columns[name], values)
    assert set(given.identity()) == {"image_references", "text_references"}
    assert not drawn.identity()
    np.save(tmp_path / "text.npy", np.ones((3, 17), np.float32))
    with pytest.raises(UserError, match=r"is of 16 numbers, the references .*text.npy' are of 17"):
        given.score(pool)


def test_vectors_far_out_and_at_the_origin_have_scores(pool: Columns, cut: Callable[..., Any]) -> None:
    images = np.float32(pool["clip.image_embedding"])
    images[0], images[1] = 0, 1e4
    columns = {"clip.image_embedding": images, "clip.text_embedding": np.float32(pool["clip.text_embedding"])}
    found = Hyperbolic().score(cut(Columns(pool.uids, columns), np.arange(300), (7, 100))).columns
    assert all(np.isfinite(values).all() for values in found.values())
