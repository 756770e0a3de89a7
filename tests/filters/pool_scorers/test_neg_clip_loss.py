from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from filters.pool_scorers.neg_clip_loss import NegClipLoss
from filters.strategy import Columns
from filters.subset import hash_uids


def naive(x: Any, y: Any, tau: float) -> Any:
    """The formula of the paper on one batch, in float64."""
    cosine = x @ y.T
    logits = cosine / tau
    rows = np.log(np.exp(logits - logits.max()).sum(1)) + logits.max()
    columns = np.log(np.exp(logits - logits.max()).sum(0)) + logits.max()
    return np.diag(cosine) - tau / 2 * (rows + columns)


@pytest.mark.parametrize("tau", [1.0, 0.07, 0.01])
def test_a_pool_smaller_than_a_batch_is_one_batch(pool: Columns, unit: Callable[..., Any], tau: float) -> None:
    x, y = (unit(pool[f"clip.{side}_embedding"]) for side in ("image", "text"))
    found = NegClipLoss(tau=tau, shuffles=3).score(pool).columns["score"]
    np.testing.assert_allclose(found, naive(x, y, tau), atol=2e-6)


def test_batches_are_cut_in_the_order_of_hashes_and_the_last_one_is_filled_up(
    pool: Columns, unit: Callable[..., Any]
) -> None:
    x, y = (unit(pool[f"clip.{side}_embedding"]) for side in ("image", "text"))
    size, shuffles, seed = 128, 4, 3  # 300 samples: 128, 128 and 44, filled up with 84 of the second
    expected = np.zeros(len(x))
    for shuffle in range(shuffles):
        order = np.argsort(hash_uids(pool.uids, seed * shuffles + shuffle))
        for rows in (order[:128], order[128:256], order[-128:]):
            scores = naive(x[rows], y[rows], 0.01)
            new = np.isin(rows, order[256:]) if rows is not order[:128] and rows[-1] == order[-1] else slice(None)
            expected[rows[new]] += scores[new]
    found = NegClipLoss(batch_size=size, shuffles=shuffles, seed=seed).score(pool).columns["score"]
    np.testing.assert_allclose(found, expected / shuffles, atol=2e-6)


@pytest.mark.parametrize("tau", [0.01, 0.001, 0.0001])
def test_sums_that_underflow_are_made_again(uids: Callable[[int], Any], unit: Callable[..., Any], tau: float) -> None:
    """Captions opposite to all pictures: every exponential is below what float32 holds."""
    rng = np.random.default_rng(0)
    x = unit(rng.standard_normal((40, 8)) * 0.1 + 1).astype(np.float32)
    y = np.where(np.arange(40)[:, None] % 2, -x, x[::-1])
    found = NegClipLoss(tau=tau).score(Columns(uids(40), {"clip.image_embedding": x, "clip.text_embedding": y}))
    assert np.isfinite(found.columns["score"]).all()
    cosine = unit(x) @ unit(y).T
    logits = cosine / tau
    lse = [np.logaddexp.reduce(logits, axis=axis) for axis in (1, 0)]
    np.testing.assert_allclose(found.columns["score"], np.diag(cosine) - tau / 2 * (lse[0] + lse[1]), atol=2e-6)


def test_a_caption_that_fits_other_pictures_too_scores_lower(uids: Callable[[int], Any]) -> None:
    """What the score is for: two pairs of equal cosine, and one of the captions would fit other pictures as well."""
    x = np.eye(9, dtype=np.float32)[:8]
    y = x.copy()
    y[0, [0, 8]] = 0.5, np.sqrt(0.75)
    y[1, :4] = 0.5
    scores = NegClipLoss(tau=0.07).score(Columns(uids(8), {"clip.image_embedding": x, "clip.text_embedding": y}))
    assert scores.columns["score"].argsort()[:2].tolist() == [1, 0]
