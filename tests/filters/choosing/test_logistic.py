"""Newton's method against scikit-learn, and on classes that can be separated."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from filters.choosing.logistic import fit_logistic


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 4))
    positive = rng.random(500) < 1 / (1 + np.exp(-(features @ [1.0, -2, 0, 0.5] - 2)))
    weight = 0.5 / np.where(positive, positive.sum(), (~positive).sum())
    for ridge in (1e-4, 1e-2, 1.0):
        theirs = LogisticRegression(C=1 / ridge, tol=1e-12, max_iter=10_000).fit(features, positive, weight)
        slopes, intercept = fit_logistic(features, positive, ridge)
        np.testing.assert_allclose(slopes, theirs.coef_[0], atol=1e-4)
        np.testing.assert_allclose(intercept, theirs.intercept_[0], atol=1e-4)


def test_separable_classes_and_a_constant_feature_have_a_finite_answer() -> None:
    features = np.stack([np.linspace(-2, 2, 50), np.zeros(50)], axis=1)
    slopes, intercept = fit_logistic(features, features[:, 0] > 0.5, 1e-3)
    assert np.isfinite(slopes).all()
    assert slopes[0] > 3
    assert slopes[1] == 0
    assert 0 < -intercept / slopes[0] < 1


def test_the_answer_does_not_depend_on_how_rare_positives_are() -> None:
    rng = np.random.default_rng(1)
    good, bad = rng.normal(1, 1, (40, 1)), rng.normal(-1, 1, (60, 1))
    once = fit_logistic(np.concatenate([good, bad]), np.arange(100) < 40, 1e-2)
    often = fit_logistic(np.concatenate([good, np.tile(bad, (9, 1))]), np.arange(580) < 40, 1e-2)
    np.testing.assert_allclose(once[0], often[0], atol=1e-9)
    np.testing.assert_allclose(once[1], often[1], atol=1e-9)
