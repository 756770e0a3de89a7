import numpy as np
import pytest

from eval.metrics.accuracy import accuracy


def test_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(200, 7)), rng.integers(0, 7, 200)
    top = np.argsort(-scores, axis=1)[:, :5]
    found = accuracy(top, labels)
    assert found["acc1"] == pytest.approx(np.mean([scores[i].argmax() == labels[i] for i in range(200)]))
    better = [(scores[i] > scores[i, labels[i]]).sum() for i in range(200)]
    assert found["acc5"] == pytest.approx(np.mean([rank < 5 for rank in better]))
    recalls = [np.mean([better[i] == 0 for i in np.flatnonzero(labels == c)]) for c in range(7)]
    assert found["mean_per_class_recall"] == pytest.approx(np.mean(recalls))


def test_top5_is_null_below_five_classes() -> None:
    found = accuracy(np.array([[0, 1, 2], [1, 0, 2]]), np.array([0, 0]))
    assert found == {"acc1": 0.5, "acc5": None, "mean_per_class_recall": 0.5}
