import numpy as np
import pytest

from eval.metrics.recall_at_k import recall_at_k

KS = (1, 3, 5)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_against_sorting() -> None:
    rng = np.random.default_rng(0)
    images, texts = unit(rng.normal(size=(20, 6))), unit(rng.normal(size=(45, 6)))
    owner = np.concatenate([np.arange(20), rng.integers(0, 20, 25)])
    found = recall_at_k(images, texts, owner, KS)
    for column, k in enumerate(KS):
        for i, text in enumerate(texts):
            best = np.argsort(-(text @ images.T))[:k]
            assert found["image_retrieval"][i, column] == float(owner[i] in best)
        for i, image in enumerate(images):
            best = np.argsort(-(image @ texts.T))[:k]
            assert found["text_retrieval"][i, column] == float((owner[best] == i).any())


def test_a_model_that_ties_everything_gets_chance() -> None:
    found = recall_at_k(np.ones((10, 1)), np.ones((10, 1)), np.arange(10), KS)
    for hits in found.values():
        assert hits.mean(axis=0) == pytest.approx([0.1, 0.3, 0.5])


def test_ties_are_the_mean_over_random_orders() -> None:
    # image 0 owns two of five texts that all score the same; the chance that one of two is drawn first is 2/5
    images, texts = np.array([[1.0, 0], [0, 1.0]]), np.tile([[0.6, 0.8]], (5, 1))
    found = recall_at_k(images, texts, np.array([0, 0, 1, 1, 1]), KS)
    assert found["text_retrieval"][0] == pytest.approx([2 / 5, 1 - 1 / 10, 1.0])


def test_does_not_depend_on_the_order_of_candidates() -> None:
    rng = np.random.default_rng(1)
    images, texts, owner = unit(rng.normal(size=(8, 3))), unit(rng.normal(size=(8, 3))), np.arange(8)
    images[3] = images[5]
    order = rng.permutation(8)
    plain = recall_at_k(images, texts, owner, KS)["text_retrieval"]
    mixed = recall_at_k(images, texts[order], owner[order], KS)["text_retrieval"]
    np.testing.assert_allclose(plain, mixed)
