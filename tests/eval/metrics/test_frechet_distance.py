import numpy as np
import pytest
from scipy.linalg import sqrtm

from eval.metrics.frechet_distance import frechet_distance


def with_moments(rng: np.random.Generator, n: int, mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Return n points whose sample mean and unbiased covariance are exactly these."""
    x = rng.normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return white @ np.linalg.cholesky(cov).T + mean


def test_closed_form_of_commuting_gaussians() -> None:
    rng = np.random.default_rng(0)
    a = with_moments(rng, 100, np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    b = with_moments(rng, 80, np.array([1.0, 2.0, 0.0]), np.diag([4.0, 1.0, 9.0]))
    # |mu|^2 = 5; sum of (sd1 - sd2)^2 = 1 + 1 + 0
    assert frechet_distance(a, b) == pytest.approx(7.0, rel=1e-9)


@pytest.mark.parametrize("n", [8, 12, 60])
def test_equals_the_square_root_of_the_product(n: int) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(n, 12)) @ rng.normal(size=(12, 12)), rng.normal(size=(70, 12)) + 0.3
    c1, c2 = np.cov(a.T), np.cov(b.T)
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = shift + np.trace(c1) + np.trace(c2) - 2 * np.trace(sqrtm(c1 @ c2)).real
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_equals_torch_fidelity() -> None:
    metric = pytest.importorskip("torch_fidelity.metric_fid")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    a = rng.normal(size=(90, 16)).astype(np.float32)
    b = (rng.normal(size=(90, 16)) * 1.5).astype(np.float32)
    stats = [metric.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    expected = metric.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_survives_fewer_samples_than_dimensions_and_a_large_offset() -> None:
    rng = np.random.default_rng(3)
    a = (rng.normal(size=(10, 40)) + 1000).astype(np.float32)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-3)
    assert frechet_distance(a, a + 1) == pytest.approx(40.0, rel=1e-3)


def test_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="two samples"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="features"):
        frechet_distance(np.zeros((4, 3)), np.zeros((5, 2)))
